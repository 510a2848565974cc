import {type Cell, numbers, type ReportDocument, type Table} from '@adwarm/client'

/** Sums of one day, or of one ad. A figure is null when no row has a value. */
export interface Figures {
  readonly spend: number | null
  readonly impressions: number | null
  readonly clicks: number | null
  /** Clicks per impression, 0 to 1. */
  readonly rate: number | null
}

export interface DayFigures extends Figures {
  readonly day: string
}

export interface AdFigures extends Figures {
  readonly id: string
  readonly name: string
  readonly days: number
}

export type FigureName = keyof Figures

class Sums {
  private readonly values = {spend: 0, impressions: 0, clicks: 0}
  private readonly counts = {spend: 0, impressions: 0, clicks: 0}

  add(name: 'spend' | 'impressions' | 'clicks', value: number): void {
    if (Number.isNaN(value)) return
    this.values[name] += value
    this.counts[name] += 1
  }

  get figures(): Figures {
    const read = (name: 'spend' | 'impressions' | 'clicks') => (this.counts[name] > 0 ? this.values[name] : null)
    const [impressions, clicks] = [read('impressions'), read('clicks')]
    return {spend: read('spend'), impressions, clicks, rate: impressions && clicks !== null ? clicks / impressions : null}
  }
}

/** Returns each row's value as text; empty without one. */
function texts(table: Table, name: string): readonly string[] {
  const column = table.columns[name]
  if (!Array.isArray(column)) return Array.from({length: table.rows}, () => '')
  return (column as readonly Cell[]).map((value) => (value === null ? '' : String(value)))
}

function sumBy(table: Table, keys: readonly string[]): Map<string, Sums> {
  const groups = new Map<string, Sums>()
  const clicksName = 'clicks' in table.columns ? 'clicks' : 'inline_link_clicks'
  const spend = numbers(table, 'spend')
  const impressions = numbers(table, 'impressions')
  const clicks = numbers(table, clicksName)
  keys.forEach((key, row) => {
    let sums = groups.get(key)
    if (sums === undefined) groups.set(key, (sums = new Sums()))
    sums.add('spend', spend[row] ?? Number.NaN)
    sums.add('impressions', impressions[row] ?? Number.NaN)
    sums.add('clicks', clicks[row] ?? Number.NaN)
  })
  return groups
}

const NO_ROWS: Table = {rows: 0, columns: {}}
const DAY_MS = 86_400_000

/** Returns the sums of every day of the report's range; a day without rows has none. */
export function sumByDay(document: ReportDocument): DayFigures[] {
  const table = document.daily ?? NO_ROWS
  const groups = sumBy(table, texts(table, 'date_start'))
  return daysBetween(document.since, document.until).map((day) => ({day, ...(groups.get(day) ?? new Sums()).figures}))
}

/** Returns the sums of every ad, by falling spend. */
export function sumByAd(document: ReportDocument): AdFigures[] {
  const table = document.daily ?? NO_ROWS
  const ids = texts(table, 'ad_id')
  const names = texts(table, 'ad_name')
  const nameOf = new Map<string, string>()
  const dates = texts(table, 'date_start')
  const days = new Map<string, Set<string>>()
  ids.forEach((id, row) => {
    if (names[row]) nameOf.set(id, names[row])
    days.set(id, (days.get(id) ?? new Set()).add(dates[row] ?? ''))
  })
  const ads = [...sumBy(table, ids)].map(([id, sums]) => ({
    id,
    name: nameOf.get(id) ?? id,
    days: days.get(id)?.size ?? 0,
    ...sums.figures,
  }))
  return ads.sort((a, b) => (b.spend ?? -1) - (a.spend ?? -1))
}

/** Returns the sums of the whole report. */
export function sumAll(document: ReportDocument): Figures {
  const table = document.daily ?? NO_ROWS
  return (sumBy(table, Array.from({length: table.rows}, () => '')).get('') ?? new Sums()).figures
}

/** Returns the days from `since` to `until`, both included. */
export function daysBetween(since: string, until: string): string[] {
  const [first, last] = [Date.parse(`${since}T00:00:00Z`), Date.parse(`${until}T00:00:00Z`)]
  if (Number.isNaN(first) || Number.isNaN(last)) return []
  const count = Math.max(0, Math.round((last - first) / DAY_MS) + 1)
  return Array.from({length: count}, (_, index) => new Date(first + index * DAY_MS).toISOString().slice(0, 10))
}
