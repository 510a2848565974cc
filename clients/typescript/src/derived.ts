import type {Cell, CellObject, Column, DerivedColumn, Measures, PivotedColumn, Table} from './document.js'
import {divide, type Numbers, readNumbers} from './ratios.js'

/** The field that names what an item of a list counts. */
export const BY = 'action_type'
/** The figures of an item: its value, and those of attribution windows, such as `7d_click`. */
const FIGURE = /^(value$|[0-9])/

type PlainColumn = Exclude<Column, DerivedColumn>

/** Returns the measures of every type of a pivoted column, with names replaced by the measures they stand for. */
export function measuresByType({items}: PivotedColumn): [type: string, measures: Measures][] {
  return Object.entries(items).map(([type, own]) => {
    const measures = typeof own === 'string' ? items[own] : own
    if (typeof measures !== 'object') throw new Error(`the report has no values for the actions ${type}`)
    return [type, measures]
  })
}

/** Returns a function that computes the columns of a table which are stored as formulas, each of them once. */
export function columnComputer(table: Table): (column: DerivedColumn) => PlainColumn {
  const read = new Map<string, Numbers>()
  const computed = new Map<DerivedColumn, PlainColumn>()
  const stored = (name: string): PlainColumn => {
    const column = table.columns[name]
    if (column === undefined || 'ratio' in column) throw new Error(`the report has no values for the column ${name}`)
    return column
  }
  const numbers = (name: string): Numbers => {
    let found = read.get(name)
    if (found === undefined) {
      const column = stored(name)
      found = readNumbers('items' in column ? new Array<Cell>(table.rows).fill(null) : column)
      read.set(name, found)
    }
    return found
  }
  const compute = (column: DerivedColumn): PlainColumn => {
    const [dividend, divisor] = column.ratio
    const cells = stored(divisor)
    const [above, times] = [numbers(dividend), column.times ?? 1]
    if ('items' in cells) return divideTypes(above, cells, column)
    const quotients: Cell[] = cells.some((cell) => Array.isArray(cell))
      ? cells.map((cell, row) => divideCell(numberAt(above, row), selectItems(cell, column.types), times))
      : divide(above, numbers(divisor), times)
    for (const [row, cell] of Object.entries(column.exceptions ?? {})) quotients[Number(row)] = cell
    return quotients
  }
  return (column) => {
    const found = computed.get(column) ?? compute(column)
    computed.set(column, found)
    return found
  }
}

function numberAt({whole, decimals}: Numbers, row: number): Numbers {
  return {whole: whole.subarray(row, row + 1), decimals: decimals.subarray(row, row + 1)}
}

/** Returns a column of lists by type, with a quotient for each figure. */
function divideTypes(above: Numbers, divisors: PivotedColumn, column: DerivedColumn): PivotedColumn {
  const times = column.times ?? 1
  const all = new Map(measuresByType(divisors))
  const types = (column.types ?? [...all.keys()]).filter((type) => all.has(type))
  const odd = new Set(Object.keys(divisors.exceptions ?? {}).map(Number))
  const done = new Map<Measures, Record<string, Cell[]>>()
  const items: Record<string, Record<string, Cell[]>> = {}
  for (const type of types) {
    const measures = all.get(type)!
    let divided = done.get(measures)
    if (divided === undefined) {
      divided = {}
      for (const [name, values] of Object.entries(measures)) divided[name] = divideFigures(above, name, values, times, odd)
      done.set(measures, divided)
    }
    items[type] = divided
  }
  const exceptions: Record<string, Cell> = {}
  for (const row of odd) {
    const cell = selectItems(divisors.exceptions?.[row] ?? listAt(divisors, row), column.types)
    exceptions[row] = divideCell(numberAt(above, row), cell, times)
  }
  Object.assign(exceptions, column.exceptions)
  for (const row of Object.keys(exceptions).map(Number)) {
    for (const divided of done.values()) for (const values of Object.values(divided)) values[row] = null
    if (exceptions[row] === null) delete exceptions[row]
  }
  return {by: BY, items, exceptions}
}

/** Returns the quotients of one array; rows that have a value without a quotient are added to `odd`. */
function divideFigures(
  above: Numbers,
  name: string,
  values: readonly Cell[],
  times: number,
  odd: Set<number>,
): Cell[] {
  const quotients: Cell[] = FIGURE.test(name) ? divide(above, readNumbers(values), times) : [...values]
  for (let row = 0; row < quotients.length; row++) {
    const value = values[row] ?? null
    if (value !== null && (quotients[row] === null || typeof value !== 'string')) odd.add(row)
  }
  return quotients
}

/** Returns the list of a row; null where it has no item. */
function listAt(column: PivotedColumn, row: number): Cell {
  const list = measuresByType(column).flatMap(([type, measures]): CellObject[] => {
    const present = Object.entries(measures).flatMap(([name, values]) => {
      const value = values[row] ?? null
      return value === null ? [] : [[name, value] as const]
    })
    return present.length === 0 ? [] : [{[BY]: type, ...Object.fromEntries(present)}]
  })
  return list.length === 0 ? null : list
}

/** Returns the items of a list that have one of the types, in the order of the types; null where a type repeats. */
function selectItems(cell: Cell, types: readonly string[] | undefined): Cell {
  if (types === undefined || !Array.isArray(cell)) return cell
  const byType = new Map<Cell, Cell>()
  for (const item of cell as readonly Cell[]) {
    const type = isObject(item) ? item[BY] : undefined
    if (typeof type !== 'string' || byType.has(type)) return null
    byType.set(type, item)
  }
  return types.flatMap((type) => byType.get(type) ?? [])
}

function isObject(value: Cell): value is CellObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Returns a list with a quotient in place of each figure; null where one of them has none, or it has other values. */
function divideCell(above: Numbers, cell: Cell, times: number): Cell {
  if (!Array.isArray(cell) || cell.length === 0) return null
  const items: Cell[] = []
  for (const item of cell as readonly Cell[]) {
    const divided = typeof item === 'string' ? item : divideItem(above, item, times)
    if (divided === null) return null
    items.push(divided)
  }
  return items
}

function divideItem(above: Numbers, item: Cell, times: number): Cell {
  if (!isObject(item)) return null
  const divided: Record<string, Cell> = {}
  for (const [name, value] of Object.entries(item)) {
    let own: Cell = null
    if (Array.isArray(value)) own = value.length === 0 ? value : divideCell(above, value, times)
    else if (typeof value === 'string') own = FIGURE.test(name) ? divide(above, readNumbers([value]), times)[0]! : value
    if (own === null) return null
    divided[name] = own
  }
  return divided
}
