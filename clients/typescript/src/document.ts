/** One value of a report. Numbers are numeric strings, as the platform sends them; null is no value. */
export type Cell = string | number | boolean | null | CellObject | readonly Cell[]
export interface CellObject {
  readonly [name: string]: Cell
}

/** A column whose values are lists of items, such as `actions`: one array per item and measure. */
export interface PivotedColumn {
  /** Name of the field that tells the items of one list apart, such as `action_type`. */
  readonly by: string
  readonly items: Readonly<Record<string, Readonly<Record<string, readonly Cell[]>>>>
  /** Cells, by row number, that this form cannot hold, such as lists with two items of one name. */
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
  readonly source: string
  /** When the data was fetched, UTC. */
  readonly fetched_at: string
  /** Whether nothing is missing. */
  readonly complete: boolean
  /** Whether the data is final. */
  readonly settled: boolean
  /** What could not be read, and why; null when nothing is missing. */
  readonly missing: string | null
  /** One row per ad (or whatever the report's level is) over the whole range; null for a range of one day. */
  readonly summary: SummaryTable | null
  /** The same per day. */
  readonly daily: Table
  readonly [name: string]: unknown
}

export type Row = Record<string, Cell>

function isPivoted(column: Column): column is PivotedColumn {
  return !Array.isArray(column)
}

/**
 * Returns the plain arrays of a table by name. An item of a pivoted column gets the name `column.item`, and
 * `column.item.measure` for a measure other than `value`: `actions.link_click`, `actions.link_click.7d_click`.
 */
export function columns(table: Table): Record<string, readonly Cell[]> {
  const flat: Record<string, readonly Cell[]> = {}
  for (const [name, column] of Object.entries(table.columns)) {
    if (!isPivoted(column)) {
      flat[name] = column
      continue
    }
    for (const [item, measures] of Object.entries(column.items)) {
      for (const [measure, values] of Object.entries(measures)) {
        flat[measure === 'value' ? `${name}.${item}` : `${name}.${item}.${measure}`] = values
      }
    }
  }
  return flat
}

/**
 * Returns a column as numbers, NaN where there is no value.
 *
 * @param name a name of `columns()`.
 */
export function numbers(table: Table, name: string): Float64Array {
  const values = columns(table)[name]
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
  for (const [item, measures] of Object.entries(column.items)) {
    const names = Object.keys(measures)
    result.forEach((row, index) => {
      const present = names.filter((measure) => (measures[measure]?.[index] ?? null) !== null)
      if (present.length === 0) return
      const list = (row[name] ??= []) as CellObject[]
      list.push({
        [column.by]: item,
        ...Object.fromEntries(present.map((measure) => [measure, measures[measure]?.[index] ?? null])),
      })
    })
  }
  for (const [index, cell] of Object.entries(column.exceptions ?? {})) {
    const row = result[Number(index)]
    if (row) row[name] = cell
  }
}
