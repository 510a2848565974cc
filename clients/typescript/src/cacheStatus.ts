/** How the API got a report: stored and fresh, stored and old, or fetched for this request. */
export type CacheResult = 'hit' | 'stale' | 'miss'

/** What a `Cache-Status` header (RFC 9211) says. */
export interface CacheStatus {
  readonly result: CacheResult
  /** Seconds for which the answer is still fresh; negative when it is stale. */
  readonly ttlSeconds: number | null
  readonly key: string | null
}

/** Reads the part of a `Cache-Status` header that the cache nearest to the data wrote, which is the first. */
export function readCacheStatus(header: string | null): CacheStatus {
  const parameters = new Map<string, string>()
  for (const part of splitOutsideQuotes(splitOutsideQuotes(header ?? '', ',')[0] ?? '', ';').slice(1)) {
    const [name = '', ...rest] = part.split('=')
    parameters.set(name.trim().toLowerCase(), rest.join('=').trim().replace(/^"(.*)"$/, '$1'))
  }
  const ttl = parameters.get('ttl')
  const ttlSeconds = ttl === undefined || Number.isNaN(Number(ttl)) ? null : Number(ttl)
  const result = !parameters.has('hit') ? 'miss' : ttlSeconds !== null && ttlSeconds < 0 ? 'stale' : 'hit'
  return {result, ttlSeconds, key: parameters.get('key') ?? null}
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts: string[] = []
  let part = ''
  let isQuoted = false
  for (const character of text) {
    if (character === '"') isQuoted = !isQuoted
    if (character === separator && !isQuoted) {
      parts.push(part)
      part = ''
    } else {
      part += character
    }
  }
  return [...parts, part]
}
