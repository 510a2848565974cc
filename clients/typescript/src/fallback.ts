/** Where a report came from when its stored entry was no hit. */
export interface Fallback {
  /** `entry` for the stored entry, `upstream` for a fetch, or the step that answered, such as `partitions`. */
  readonly source: string
  /** Whether it is less than what was asked for. */
  readonly isDegraded: boolean
  /** Why it is degraded, or why a fallback answered; null otherwise. */
  readonly reason: string | null
  /** What was tried before, with its outcome. */
  readonly actions: readonly string[]
  /** The days of the report, `YYYY-MM-DD..YYYY-MM-DD`, when they are not those asked for; null otherwise. */
  readonly otherWindow: string | null
}

/** Reads the headers `Adwarm-Source`, `Adwarm-Degraded`, `Adwarm-Reason`, `Adwarm-Actions` and `Adwarm-Window`. */
export function readFallback(headers: Headers, isFetched: boolean): Fallback {
  return {
    source: headers.get('adwarm-source') ?? (isFetched ? 'upstream' : 'entry'),
    isDegraded: headers.get('adwarm-degraded')?.trim() === '?1',
    reason: readStrings(headers.get('adwarm-reason'))[0] ?? null,
    actions: readStrings(headers.get('adwarm-actions')),
    otherWindow: headers.get('adwarm-window'),
  }
}

/** Returns the quoted strings of a header (RFC 8941). */
function readStrings(header: string | null): string[] {
  const quoted = /"((?:[^"\\]|\\.)*)"/g
  return [...(header ?? '').matchAll(quoted)].map(([, text = '']) => text.replace(/\\(.)/g, '$1'))
}
