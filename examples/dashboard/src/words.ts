import type {AdwarmProblem, Gate} from '@adwarm/client'

const LOCALE = 'en'
const NONE = '–'
/** Title of the problem when a token may read a report, but not request it. */
const NOT_STORED = 'Not Stored'

/** Formats figures of a report; a missing one is a dash. */
export interface Formats {
  readonly money: (value: number | null) => string
  readonly count: (value: number | null) => string
  readonly percent: (value: number | null) => string
}

export function makeFormats(currency: string | null): Formats {
  const orNone = (format: Intl.NumberFormat) => (value: number | null) => (value === null ? NONE : format.format(value))
  return {
    money: orNone(moneyFormat(currency)),
    count: orNone(new Intl.NumberFormat(LOCALE)),
    percent: orNone(new Intl.NumberFormat(LOCALE, {style: 'percent', minimumFractionDigits: 2})),
  }
}

function moneyFormat(currency: string | null): Intl.NumberFormat {
  try {
    if (currency) return new Intl.NumberFormat(LOCALE, {style: 'currency', currency, maximumFractionDigits: 0})
  } catch {
    // a code that is no currency: plain numbers
  }
  return new Intl.NumberFormat(LOCALE, {maximumFractionDigits: 0})
}

/** Returns a short number for an axis, such as `1.2K`. */
export function compact(value: number): string {
  return new Intl.NumberFormat(LOCALE, {notation: 'compact', maximumFractionDigits: 1}).format(value)
}

/** Returns the share of clicks lost in whole percent: cut and not rounded, so that below a limit it does not show it. */
export function percentLost(loss: number | null): number {
  return Math.max(0, Math.floor(100 * (loss ?? 0) + 1e-9))
}

/** Returns a span of time in words, such as `3 min` or `2 h 5 min`. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`
  return `${Math.floor(hours / 24)} days`
}

/** Returns the time of an answer, such as `21 ms` or `3.6 s`. */
export function duration(milliseconds: number): string {
  return milliseconds < 1_000 ? `${Math.max(1, Math.round(milliseconds))} ms` : `${(milliseconds / 1_000).toFixed(1)} s`
}

/** Returns a number of bytes, such as `2.8 kB`. */
export function bytes(value: number): string {
  if (value < 1_000) return `${Math.round(value)} B`
  if (value < 1_000_000) return `${(value / 1_000).toFixed(value < 10_000 ? 1 : 0)} kB`
  return `${(value / 1_000_000).toFixed(2)} MB`
}

/** Returns a day such as `5 Jan`; `2026-01-05` stands for that day in any time zone. */
export function shortDay(day: string): string {
  return new Date(`${day}T00:00:00Z`).toLocaleDateString('en-GB', {day: 'numeric', month: 'short', timeZone: 'UTC'})
}

export function longDay(day: string): string {
  const options = {weekday: 'short', day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC'} as const
  return new Date(`${day}T00:00:00Z`).toLocaleDateString('en-GB', options)
}

/** Returns an instant as the reader's own time of day, with the day when it is not today. */
export function clockTime(instant: string, now = new Date()): string {
  const at = new Date(instant)
  const time = at.toLocaleTimeString('en-GB', {hour: '2-digit', minute: '2-digit'})
  return at.toDateString() === now.toDateString() ? time : `${shortDay(instant.slice(0, 10))}, ${time}`
}

const RANGE_NAMES: Record<string, string> = {maximum: 'Maximum', data_maximum: 'Maximum with data'}

/** Returns a preset in words: `last_7d` is `Last 7 days`. */
export function rangeName(range: string): string {
  const days = /^last_(\d+)d$/.exec(range)
  if (days) return `Last ${days[1]} days`
  const words = range.replaceAll('_', ' ')
  return RANGE_NAMES[range] ?? words.charAt(0).toUpperCase() + words.slice(1)
}

/** Returns the detail of a problem as a sentence. */
export function sentence(text: string): string {
  return text && `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`
}

/** Returns what an error means for the person in front of the page. */
export function errorTitle(problem: AdwarmProblem): string {
  switch (problem.status) {
    case 0:
      return 'The API cannot be reached'
    case 401:
      return 'This token is not valid'
    case 403:
      return 'This token may not do that'
    case 404:
      return problem.title === NOT_STORED ? 'This report is not stored yet' : 'There is no such report for this token'
    case 429:
      return 'Too many requests for now'
    default:
      return problem.status >= 500 ? 'The API has a problem' : problem.title
  }
}

/** Returns what a closed gate means. */
export function gateText({account, opened_by: opener, since, until, why}: Gate, now = new Date()): string {
  const what = account === null ? 'New data' : `New data for account ${account}`
  const ends = {probes: 'The next test is at', time: 'It is called again at', credential: null, version: null, person: null}[opener]
  const end = ends !== null && until !== null ? ` ${ends} ${clockTime(until, now)}.` : ''
  return `${what} has been held back since ${clockTime(since, now)}${why ? ` (${why})` : ''}.${end}`
}
