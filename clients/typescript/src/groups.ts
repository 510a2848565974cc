import {columns, numbers, type Table} from './document.js'

/** What the rows of one group add up to; null where no row has a value. People are no part of it: they do not add up. */
export interface GroupSums {
  /** The values of the breakdowns, in their order; an empty text where the platform names none. */
  readonly group: readonly string[]
  readonly spend: number | null
  readonly impressions: number | null
  readonly clicks: number | null
  /** Clicks per impression, 0 to 1. */
  readonly clickRate: number | null
}

const FIGURES = ['spend', 'impressions', 'clicks'] as const

/**
 * Returns the sums of a table by group, by falling spend; nothing for a table without these columns.
 *
 * @param by breakdowns of the report, such as `['publisher_platform', 'platform_position']`.
 */
export function sumGroups(table: Table, by: readonly string[]): GroupSums[] {
  const plain = columns(table)
  if (by.length === 0 || !by.some((name) => name in plain)) return []
  const values = FIGURES.map((name) => numbers(table, name))
  const groups = new Map<string, {group: readonly string[]; sums: (number | null)[]}>()
  for (let row = 0; row < table.rows; row++) {
    const group = by.map((name) => String(plain[name]?.[row] ?? ''))
    const key = JSON.stringify(group)
    let entry = groups.get(key)
    if (entry === undefined) groups.set(key, (entry = {group, sums: FIGURES.map(() => null)}))
    const {sums} = entry
    values.forEach((column, index) => {
      const value = column[row]
      if (value !== undefined && !Number.isNaN(value)) sums[index] = (sums[index] ?? 0) + value
    })
  }
  return [...groups.values()]
    .map(({group, sums: [spend = null, impressions = null, clicks = null]}) => {
      return {group, spend, impressions, clicks, clickRate: impressions && clicks !== null ? clicks / impressions : null}
    })
    .sort((a, b) => (b.spend ?? -1) - (a.spend ?? -1))
}
