import type {Cell, CellObject, Column, DerivedColumn, Measures, PivotedColumn, Table} from './document.js'
import {divide, type Numbers, readNumbers} from './ratios.js'

/** The field that names what an item of a list counts. */
export const BY = 'action_type'

type PlainColumn = Exclude<Column, DerivedColumn>

/** Whether a field of an item is a figure: its value, or that of an attribution window, such as `7d_click`. */
function isFigure(name: string): boolean {
  return name === 'value' || (name[0]! >= '0' && name[0]! <= '9')
}

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
    let own = read.get(name)
    if (own === undefined) {
      const column = stored(name)
      own = readNumbers('items' in column ? new Array<Cell>(table.rows).fill(null) : column)
      read.set(name, own)
    }
    return own
  }
  const compute = (column: DerivedColumn): PlainColumn => {
    const [dividend, divisor] = column.ratio
    const cells = stored(divisor)
    const [above, times] = [numbers(dividend), column.times ?? 1]
    if ('items' in cells) return divideTypes(above, cells, column)
    const quotients: Cell[] = cells.some((cell) => Array.isArray(cell))
      ? divideLists(above, cells.map((cell) => selectItems(cell, column.types)), times)
      : divide(above, numbers(divisor), times)
    for (const [row, cell] of Object.entries(column.exceptions ?? {})) quotients[Number(row)] = cell
    return quotients
  }
  return (column) => {
    const plain = computed.get(column) ?? compute(column)
    computed.set(column, plain)
    return plain
  }
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
    let arrays = done.get(measures)
    if (arrays === undefined) {
      arrays = {}
      for (const [name, values] of Object.entries(measures)) arrays[name] = divideFigures(above, name, values, times, odd)
      done.set(measures, arrays)
    }
    items[type] = arrays
  }
  const lists = new Array<Cell>(above.whole.length).fill(null)
  for (const row of odd) lists[row] = selectItems(divisors.exceptions?.[row] ?? listAt(divisors, row), column.types)
  const divided = odd.size === 0 ? lists : divideLists(above, lists, times)
  const exceptions: Record<string, Cell> = {...column.exceptions}
  for (const row of odd) if (!(row in exceptions)) exceptions[row] = divided[row] ?? null
  for (const row of Object.keys(exceptions).map(Number)) {
    for (const arrays of done.values()) for (const values of Object.values(arrays)) values[row] = null
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
  const quotients: Cell[] = isFigure(name) ? divide(above, readNumbers(values), times) : [...values]
  for (let row = 0; row < quotients.length; row++) {
    const value = values[row] ?? null
    if (value !== null && (quotients[row] === null || typeof value !== 'string')) odd.add(row)
  }
  return quotients
}

/** Returns the list of a row; null where it has no item. */
export function listAt(column: PivotedColumn, row: number): Cell {
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

/** Returns each list with a quotient in place of each figure; null where one of them has none, or it has other values. */
function divideLists(above: Numbers, lists: readonly Cell[], times: number): Cell[] {
  const figures: string[] = []
  const rows: number[] = []
  const isUsual = lists.map((list, row) => {
    const start = figures.length
    const usual = Array.isArray(list) && list.length > 0 && addFigures(list as readonly Cell[], figures)
    if (!usual) figures.length = start
    while (rows.length < figures.length) rows.push(row)
    return usual
  })
  const own = {whole: Float64Array.from(rows, (row) => above.whole[row]!), decimals: Uint8Array.from(rows, (row) => above.decimals[row]!)}
  const quotients = divide(own, readNumbers(figures), times)
  let place = 0
  const next = () => quotients[place++]!
  return lists.map((list, row) => {
    if (!isUsual[row]) return null
    const start = place
    const items = replaceFigures(list as readonly Cell[], next)
    return quotients.slice(start, place).includes(null) ? null : items
  })
}

/** Adds the figures of items in their order; false when an item has other values than texts and lists of items. */
function addFigures(items: readonly Cell[], figures: string[]): boolean {
  return items.every((item) => {
    if (typeof item === 'string') return true
    if (!isObject(item)) return false
    for (const name in item) {
      const value = item[name]!
      if (Array.isArray(value)) {
        if (!addFigures(value as readonly Cell[], figures)) return false
      } else if (typeof value !== 'string') return false
      else if (isFigure(name)) figures.push(value)
    }
    return true
  })
}

/** Returns items with other figures, which are in the order of `addFigures`. */
function replaceFigures(items: readonly Cell[], next: () => string): Cell[] {
  return items.map((item) => {
    if (!isObject(item)) return item
    const replaced: Record<string, Cell> = {...item}
    for (const name in item) {
      const value = item[name]!
      if (Array.isArray(value)) replaced[name] = replaceFigures(value as readonly Cell[], next)
      else if (isFigure(name)) replaced[name] = next()
    }
    return replaced
  })
}
