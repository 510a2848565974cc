import type {ReportDocument} from '../src/index.js'

/** One call of the fake `fetch`, to be answered by the test. */
export interface Call {
  readonly url: URL
  readonly headers: Headers
  readonly init: RequestInit
  readonly signal: AbortSignal | null
}

export type Answer = Response | Error | Promise<Response>

export const ORIGIN = 'http://api.test'

/** A `fetch` that answers from a function, notes the calls, and rejects when it is aborted. */
export function fakeFetch(answer: (call: Call, index: number) => Answer): {fetch: typeof fetch; calls: Call[]} {
  const calls: Call[] = []
  const fetch = ((input: string, init: RequestInit = {}) => {
    const call = {url: new URL(input), headers: new Headers(init.headers), init, signal: init.signal ?? null}
    calls.push(call)
    return new Promise<Response>((resolve, reject) => {
      call.signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')))
      const given = answer(call, calls.length - 1)
      if (given instanceof Error) reject(given)
      else void Promise.resolve(given).then(resolve, reject)
    })
  }) as typeof globalThis.fetch
  return {fetch, calls}
}

export function makeDocument(change: Partial<ReportDocument> = {}): ReportDocument {
  return {
    format_version: 3,
    account_id: 'act_1',
    date_range: 'last_7d',
    report: 'default',
    since: '2026-01-01',
    until: '2026-01-07',
    time_zone: 'Europe/Berlin',
    currency: 'EUR',
    query: {hash: '0123456789ab', level: 'ad', fields: ['clicks'], attribution: 'unified', attribution_windows: []},
    source: 'meta',
    api_version: 'v26.0',
    fetched_at: '2026-01-08T06:00:00Z',
    days_fetched_at: '2026-01-08T06:00:00Z',
    complete: true,
    settled: false,
    data_version: 1,
    missing: null,
    summary: null,
    daily: {rows: 2, columns: {ad_id: ['1', '2'], clicks: ['3', null]}},
    ...change,
  }
}

export function reportResponse(cacheStatus: string, document = makeDocument(), headers: Record<string, string> = {}) {
  return Response.json(document, {headers: {'Cache-Status': cacheStatus, Age: '60', ...headers}})
}

export function waitingResponse(id: number, retryAfter = '2'): Response {
  return Response.json(
    {status: 'queued', request_id: id, location: `/v1/requests/${id}`, retry_after: Number(retryAfter), reason: 'why'},
    {status: 202, headers: {'Retry-After': retryAfter}},
  )
}

export function problemResponse(status: number, detail: string, headers: Record<string, string> = {}): Response {
  return Response.json(
    {type: 'about:blank', title: `Problem ${status}`, status, detail, extra: 7},
    {status, headers: {'Content-Type': 'application/problem+json', ...headers}},
  )
}
