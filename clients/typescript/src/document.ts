import {BY, columnComputer, listAt, measuresByType} from './derived.js'

/** One value of a report. Numbers are numeric strings, as the platform sends them; null is no value. */
export type Cell = string | number | boolean | null | CellObject | readonly Cell[]
export interface CellObject {
  readonly [name: string]: Cell
}

/** The values of one type of item: one array per measure, all as long as the table. */
export type Measures = Readonly<Record<string, readonly Cell[]>>

/** A column whose values are lists of items, such as `actions`: one array per type of item and measure. */
export interface PivotedColumn {
  /** Name of the field that tells the items of one list apart: `action_type`. */
  readonly by: string
  /** The measures of each type; the name of another type whose measures are the same. */
  readonly items: Readonly<Record<string, Measures | string>>
  /** Cells, by row number, that the arrays cannot hold, such as lists with two items of one type. */
  readonly exceptions?: Readonly<Record<string, Cell>>
}

/**
 * A column of ratios, stored as their formula: `ratio[0]` divided by `ratio[1]`, times `times`. Where the second column is
 * one of lists, each list has a quotient in place of each value.
 */
export interface DerivedColumn {
  readonly ratio: readonly [dividend: string, divisor: string]
  /** 1 when it is left out. */
  readonly times?: number
  /** The types of the items of each list, in their order; all of them when it is left out. */
  readonly types?: readonly string[]
  /** Cells, by row number, that are not what the formula gives. */
  readonly exceptions?: Readonly<Record<string, Cell>>
}

export type Column = readonly Cell[] | PivotedColumn | DerivedColumn
/** A column that holds its values. */
type PlainColumn = Exclude<Column, DerivedColumn>

/** A table of a report: one array per column, all of the same length. */
export interface Table {
  readonly rows: number
  readonly columns: Readonly<Record<string, Column>>
}

/** Rows over the whole range. */
export interface SummaryTable extends Table {
  readonly fetched_at: string
  /** Sum of the data versions of the days when the summary was fetched. */
  readonly versions: number
  /** What could not be read, and why; null when nothing is missing. */
  readonly missing: string | null
}

/** Version of the format that this client reads. */
export const FORMAT_VERSION = 3

/** A report as adwarm stores it. */
export interface ReportDocument {
  readonly format_version: number
  readonly account_id: string
  readonly date_range: string
  readonly report: string
  /** First and last day, `YYYY-MM-DD`. */
  readonly since: string
  readonly until: string
  /** The zone of the days. */
  readonly time_zone: string
  readonly currency: string
  readonly query: {
    readonly hash: string
    readonly level: string
    readonly fields: readonly string[]
    /** The setting that counts conversions, and the windows beside its own figure. */
    readonly attribution: string
    readonly attribution_windows: readonly string[]
  }
  readonly source: string
  /** Version of the platform's API. */
  readonly api_version: string
  /** When the data was fetched, UTC. */
  readonly fetched_at: string
  /** When the oldest day was fetched, UTC; null without a stored day. */
  readonly days_fetched_at: string | null
  /** Whether nothing is missing. */
  readonly complete: boolean
  /** Whether the data is final. */
  readonly settled: boolean
  /** Grows when a day is restated. */
  readonly data_version: number
  /** What could not be read, and why; null when nothing is missing. */
  readonly missing: string | null
  /** One row per ad (or whatever the report's level is) over the whole range; null for a range of one day. */
  readonly summary: SummaryTable | null
  /** The same per day. */
  readonly daily: Table
}

export type Row = Record<string, Cell>

function isPivoted(column: Column): column is PivotedColumn {
  return 'items' in column
}

function isDerived(column: Column): column is DerivedColumn {
  return 'ratio' in column
}

/** The computed columns of tables, which are made when they are read; a table is never changed. */
const computers = new WeakMap<Table, (column: DerivedColumn) => PlainColumn>()

function plainColumn(table: Table, name: string): PlainColumn | undefined {
  const column = table.columns[name]
  if (column === undefined || !isDerived(column)) return column
  let compute = computers.get(table)
  if (compute === undefined) computers.set(table, (compute = columnComputer(table)))
  return compute(column)
}

/** Returns the columns of a table, those that are stored as formulas computed. */
function plainColumns(table: Table): [name: string, column: PlainColumn][] {
  return Object.keys(table.columns).map((name) => [name, plainColumn(table, name)!])
}

/**
 * Returns the plain arrays of a table by name. An item of a column of lists gets the name `column.type`, and
 * `column.type.measure` for a measure other than `value`: `actions.link_click`, `actions.link_click.7d_click`.
 *
 * A row whose list has a type twice has the value of the first; `rows()` has both.
 */
export function columns(table: Table): Record<string, readonly Cell[]> {
  const flat: Record<string, readonly Cell[]> = {}
  for (const [name, column] of plainColumns(table)) {
    if (isPivoted(column)) {
      for (const [type, measures] of measuresByType(column)) {
        for (const [measure, values] of Object.entries(measures)) flat[columnName(name, type, measure)] = values
      }
      addListed(flat, name, column.exceptions ?? {}, table.rows)
    } else if (column.some(isListOfActions)) {
      addListed(flat, name, column, table.rows) // a column whose lists are too unlike each other to be pivoted
    } else {
      flat[name] = column
    }
  }
  return flat
}

function columnName(column: string, type: string, measure: string): string {
  return measure === 'value' ? `${column}.${type}` : `${column}.${type}.${measure}`
}

function isListOfActions(cell: Cell): boolean {
  return Array.isArray(cell) && cell.some((item) => typeOf(item) !== null)
}

/** Returns the type of an item of a list; null when it has none. */
function typeOf(item: Cell): string | null {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return null
  const type = (item as CellObject)[BY]
  return typeof type === 'string' ? type : null
}

/** Adds the values of cells that are lists, by row number, to the arrays of their types. The arrays are not shared. */
function addListed(
  flat: Record<string, readonly Cell[]>,
  name: string,
  cells: Readonly<Record<string, Cell>> | readonly Cell[],
  rowCount: number,
): void {
  const own: Record<string, Cell[]> = {}
  for (const [row, cell] of Object.entries(cells)) {
    if (!Array.isArray(cell)) continue
    for (const item of cell as readonly Cell[]) {
      const type = typeOf(item)
      if (type === null) continue
      for (const [measure, value] of Object.entries(item as CellObject)) {
        if (measure === BY) continue
        const key = columnName(name, type, measure)
        const values = (own[key] ??= [...(flat[key] ?? new Array<Cell>(rowCount).fill(null))])
        values[Number(row)] ??= value
      }
    }
  }
  Object.assign(flat, own)
}

/**
 * Returns a column as numbers, NaN where there is no value.
 *
 * @param name a name of `columns()`.
 */
export function numbers(table: Table, name: string): Float64Array {
  const plain = plainColumn(table, name)
  const values = plain && !isPivoted(plain) ? plain : columns(table)[name]
  const result = new Float64Array(table.rows).fill(Number.NaN)
  values?.forEach((value, index) => {
    if (typeof value === 'number' || (typeof value === 'string' && value !== '')) result[index] = Number(value)
  })
  return result
}

/**
 * Returns the rows of a table as the platform's API has them; a field without a value is left out.
 *
 * A table of 100,000 rows takes far longer than its columns do: use `columns()` for charts and sums.
 */
export function rows(table: Table): Row[] {
  const readers = plainColumns(table).map(([name, column]) => cellReader(name, column))
  const names = readers.map(({name}) => name)
  const shapes: Shape = {}
  const cells = new Array<Cell>(readers.length).fill(null)
  const result = new Array<Row>(table.rows)
  for (let index = 0; index < table.rows; index++) {
    let shape = shapes
    for (let place = 0; place < readers.length; place++) {
      const cell = readers[place]!.read(index) ?? null
      cells[place] = cell
      shape = cell === null ? (shape.without ??= {}) : (shape.with ??= {})
    }
    const row: Row = {...(shape.template ??= makeTemplate(names, cells))}
    for (let place = 0; place < cells.length; place++) if (cells[place] !== null) row[names[place]!] = cells[place]!
    result[index] = row
  }
  return result
}

/** The rows that have, or do not have, the next column; the last one has the template of their objects. */
interface Shape {
  with?: Shape
  without?: Shape
  template?: Row
}

/** Returns an object with the fields of a row. Its copies take their memory at once, which halves the time of `rows()`. */
function makeTemplate(names: readonly string[], cells: readonly Cell[]): Row {
  const present = names.filter((_, place) => cells[place] !== null)
  return JSON.parse(JSON.stringify(Object.fromEntries(present.map((name) => [name, 0])))) as Row
}

interface CellReader {
  readonly name: string
  readonly read: (row: number) => Cell | undefined
}

function cellReader(name: string, column: PlainColumn): CellReader {
  if (!isPivoted(column)) return {name, read: (row) => column[row]}
  const {exceptions = {}} = column
  const odd = new Set(Object.keys(exceptions).map(Number))
  const read = listReader(column)
  return {name, read: odd.size === 0 ? read : (row) => (odd.has(row) ? exceptions[row] : read(row))}
}

/** Returns a function that makes the list of a row out of the arrays of a column; null where it has no item. */
function listReader(column: PivotedColumn): (row: number) => Cell {
  const types = measuresByType(column)
  if (!types.every(([, measures]) => 'value' in measures && Object.keys(measures).length === 1)) {
    return (row) => listAt(column, row)
  }
  const kinds = types.map(([type]) => type)
  const arrays = types.map(([, measures]) => measures['value']!)
  const items: CellObject[] = []
  return (row) => {
    let count = 0
    for (let place = 0; place < arrays.length; place++) {
      const value = arrays[place]![row]
      if (value !== null && value !== undefined) items[count++] = {action_type: kinds[place]!, value}
    }
    return count === 0 ? null : items.slice(0, count)
  }
}
