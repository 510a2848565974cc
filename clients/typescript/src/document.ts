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

export type Column = readonly Cell[] | PivotedColumn

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
export const FORMAT_VERSION = 2

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
  readonly query: {readonly hash: string; readonly level: string; readonly fields: readonly string[]}
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

const BY = 'action_type'

function isPivoted(column: Column): column is PivotedColumn {
  return !Array.isArray(column)
}

/** Returns the measures of every type of a pivoted column, with names replaced by the measures they stand for. */
function measuresByType({items}: PivotedColumn): [type: string, measures: Measures][] {
  return Object.entries(items).map(([type, own]) => {
    const measures = typeof own === 'string' ? items[own] : own
    if (typeof measures !== 'object') throw new Error(`the report has no values for the actions ${type}`)
    return [type, measures]
  })
}

/**
 * Returns the plain arrays of a table by name. An item of a column of lists gets the name `column.type`, and
 * `column.type.measure` for a measure other than `value`: `actions.link_click`, `actions.link_click.7d_click`.
 *
 * A row whose list has a type twice has the value of the first; `rows()` has both.
 */
export function columns(table: Table): Record<string, readonly Cell[]> {
  const flat: Record<string, readonly Cell[]> = {}
  for (const [name, column] of Object.entries(table.columns)) {
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
  const plain = table.columns[name]
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
  const result: Row[] = Array.from({length: table.rows}, () => ({}))
  for (const [name, column] of Object.entries(table.columns)) {
    if (isPivoted(column)) {
      addItems(result, name, column)
      continue
    }
    column.forEach((value, index) => {
      const row = result[index]
      if (row && value !== null) row[name] = value
    })
  }
  return result
}

function addItems(result: Row[], name: string, column: PivotedColumn): void {
  for (const [type, measures] of measuresByType(column)) {
    const lists = Object.entries(measures)
    result.forEach((row, index) => {
      const present = lists.flatMap(([measure, values]) => {
        const value = values[index] ?? null
        return value === null ? [] : [[measure, value] as const]
      })
      if (present.length === 0) return
      const list = (row[name] ??= []) as CellObject[]
      list.push({[column.by]: type, ...Object.fromEntries(present)})
    })
  }
  for (const [index, cell] of Object.entries(column.exceptions ?? {})) {
    const row = result[Number(index)]
    if (row) row[name] = cell
  }
}
