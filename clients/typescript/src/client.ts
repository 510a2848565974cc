import {type CacheResult, readCacheStatus} from './cacheStatus.js'
import {FORMAT_VERSION, type ReportDocument} from './document.js'
import {type Fallback, readFallback} from './fallback.js'
import {AdwarmProblem, readProblem, readRetryAfter} from './problem.js'
import type {
  AccountPage,
  EnqueuedRequest,
  Gate,
  GatePage,
  QueueState,
  RequestState,
  Score,
  ScoreChanges,
  ScorePage,
  ScoreSummary,
} from './status.js'
import {type Transfer, TransferProbe} from './transfer.js'

export interface CallOptions {
  readonly signal?: AbortSignal
}

export interface ScoreOptions extends CallOptions {
  /** Only this ad or creative. */
  readonly adId?: string
  /** Last day that the scores take into account, `YYYY-MM-DD`; the newest by default. */
  readonly asOf?: string
  /** Only ads in this band. */
  readonly status?: Score['status']
  /** Only ads whose alarm is on this level. */
  readonly alarm?: Score['alarm']
  /** Scores on a page; at most 1,000. */
  readonly limit?: number
  /** `next_cursor` of the page before. */
  readonly cursor?: string
}

export interface ScoreChangeOptions extends CallOptions {
  /** Compare with the newest scores up to this day, `YYYY-MM-DD`; the scored day before by default. */
  readonly since?: string
  /** The later day; the newest by default. */
  readonly asOf?: string
}

export interface EnqueueOptions extends CallOptions {
  readonly report?: string
  readonly priority?: Priority
}

export type Priority = 'critical' | 'high' | 'normal' | 'low'

/** Why a report is asked for. Only `open` counts as somebody who looks at it. */
export type Trigger = 'open' | 'poll' | 'revalidate'

export interface ClientOptions {
  /** Where the API is; the page's own origin by default. */
  readonly baseUrl?: string
  /** The bearer token, or a function that returns it. It is kept in memory only. */
  readonly token: string | (() => string)
  /** Replaces the global `fetch`, in tests. */
  readonly fetch?: typeof fetch
}

export interface ReportOptions {
  /** Name of the report; the API's `default` when it is not given. */
  readonly report?: string
  /** Class of the request in the queue when the report is missing or old. */
  readonly priority?: Priority
  /** How long the API may hold the answer back while a missing or old report is fetched. At most 30. */
  readonly waitSeconds?: number
  /** Whether a report of other days is welcome while that of the days asked for is not there; `otherWindow` names them. */
  readonly allowPartial?: boolean
  readonly trigger?: Trigger
  /** The request that an earlier answer named, so that asking again is the same open. */
  readonly requestId?: string | null
  readonly signal?: AbortSignal
}

/** A report, and how it came. */
export interface ReportAnswer extends Fallback {
  readonly kind: 'report'
  readonly document: ReportDocument
  readonly status: CacheResult
  /** Age of the data in seconds; null when the API does not say. */
  readonly ageSeconds: number | null
  /** Seconds until it counts as old; negative when it does; null when the API does not say. */
  readonly ttlSeconds: number | null
  /** How it was compressed, such as `zstd`; null when the browser does not tell. */
  readonly coding: string | null
  /** Milliseconds from the request to the parsed document. */
  readonly milliseconds: number
  /** Bytes on the wire. Measured after the answer; null when the browser does not tell. */
  readonly transfer: Promise<Transfer | null>
}

/** The report is missing, and a request for it is queued. */
export interface WaitingAnswer {
  readonly kind: 'waiting'
  readonly requestId: string | null
  /** When to ask again. */
  readonly retryAfterSeconds: number
  /** Why it is not there yet; null when the API does not say. */
  readonly reason: string | null
  /** Other days that are stored, which `allowPartial` returns; null without any. */
  readonly storedWindow: string | null
}

export interface FollowOptions extends ReportOptions {
  /** Is called for every answer that the report is still to come. */
  readonly onWaiting?: (answer: WaitingAnswer) => void
}

const DEFAULT_WAIT_SECONDS = 5
const DEFAULT_RETRY_SECONDS = 2

/** Reads reports and the state of the system from adwarm's read API. */
export class AdwarmClient {
  private readonly baseUrl: string
  private readonly fetch: typeof fetch
  private readonly token: () => string

  constructor(options: ClientOptions) {
    const origin = typeof location === 'undefined' ? '' : location.origin
    this.baseUrl = (options.baseUrl ?? origin).replace(/\/+$/, '')
    this.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init))
    const {token} = options
    this.token = typeof token === 'function' ? token : () => token
  }

  /**
   * Returns a report, and waits as long as it takes while it is fetched.
   *
   * @throws AdwarmProblem when the API refuses; the signal's reason when it is aborted.
   */
  async report(account: string, range: string, options: FollowOptions = {}): Promise<ReportAnswer> {
    const {onWaiting, ...rest} = options
    let requestId = options.requestId ?? null
    for (;;) {
      const answer = await this.tryReport(account, range, {...rest, requestId})
      if (answer.kind === 'report') return answer
      requestId = answer.requestId
      onWaiting?.(answer)
      await delay(answer.retryAfterSeconds, options.signal)
    }
  }

  /** Returns a report, or that it is to be waited for. */
  async tryReport(account: string, range: string, options: ReportOptions = {}): Promise<ReportAnswer | WaitingAnswer> {
    const url = this.reportUrl(account, range, options)
    const probe = new TransferProbe(url)
    const startedAt = performance.now()
    try {
      const response = await this.send(url, {
        headers: reportHeaders(options),
        ...(options.signal ? {signal: options.signal} : {}),
      })
      if (response.status === 202) {
        probe.close()
        return readWaiting(response, options.requestId ?? null)
      }
      const document = checkFormat((await response.json()) as ReportDocument)
      const {result, ttlSeconds} = readCacheStatus(response.headers.get('cache-status'))
      const age = response.headers.get('age')
      return {
        kind: 'report',
        document,
        status: result,
        ageSeconds: age === null || Number.isNaN(Number(age)) ? null : Number(age),
        ttlSeconds,
        ...readFallback(response.headers, result === 'miss'),
        coding: response.headers.get('content-encoding'),
        milliseconds: performance.now() - startedAt,
        transfer: probe.read(),
      }
    } catch (error) {
      probe.close()
      throw error
    }
  }

  /** Returns one page of an account's fatigue scores by creative, with the ads of each; most spend times loss first. */
  async scores(account: string, options: ScoreOptions = {}): Promise<ScorePage> {
    const query = new URLSearchParams()
    if (options.adId !== undefined) query.set('ad_id', options.adId)
    if (options.asOf !== undefined) query.set('as_of', options.asOf)
    if (options.status !== undefined) query.set('status', options.status)
    if (options.alarm !== undefined) query.set('alarm', options.alarm)
    if (options.limit !== undefined) query.set('limit', String(options.limit))
    if (options.cursor !== undefined) query.set('cursor', options.cursor)
    return this.get<ScorePage>(`/v1/scores/${encodeURIComponent(account)}`, options, query)
  }

  /** Returns what changed in an account's fatigue scores: new alarms, other statuses, what began or ended. */
  async scoreChanges(account: string, options: ScoreChangeOptions = {}): Promise<ScoreChanges> {
    const query = new URLSearchParams()
    if (options.since !== undefined) query.set('since', options.since)
    if (options.asOf !== undefined) query.set('as_of', options.asOf)
    return this.get<ScoreChanges>(`/v1/scores/${encodeURIComponent(account)}/changes`, options, query)
  }

  /** Returns an account's score weighted by spend, its creatives by status, and its alarms. */
  async scoreSummary(account: string, options: CallOptions & {readonly asOf?: string} = {}): Promise<ScoreSummary> {
    const query = new URLSearchParams()
    if (options.asOf !== undefined) query.set('as_of', options.asOf)
    return this.get<ScoreSummary>(`/v1/scores/${encodeURIComponent(account)}/summary`, options, query)
  }

  /** Returns the accounts that the token may read, and the reports and presets to ask for. */
  async accounts(options: CallOptions = {}): Promise<AccountPage> {
    return this.get<AccountPage>('/v1/accounts', options)
  }

  /** Returns the state of the request queue. */
  async queue(options: CallOptions = {}): Promise<QueueState> {
    return this.get<QueueState>('/v1/queue', options)
  }

  /** Returns what is not called now, as far as the token may see it. */
  async gates(options: CallOptions = {}): Promise<readonly Gate[]> {
    return (await this.get<GatePage>('/v1/gates', options)).gates
  }

  /** Returns a queued request. */
  async request(id: string | number, options: CallOptions = {}): Promise<RequestState> {
    return this.get<RequestState>(`/v1/requests/${encodeURIComponent(id)}`, options)
  }

  /** Requests a report without waiting for it. */
  async enqueue(account: string, range: string, options: EnqueueOptions = {}): Promise<EnqueuedRequest> {
    const {report = 'default', priority = 'normal', signal} = options
    const response = await this.send(`${this.baseUrl}/v1/requests`, {
      method: 'POST',
      headers: {'Content-Type': 'application/json'},
      body: JSON.stringify({account, range, report, priority}),
      ...(signal ? {signal} : {}),
    })
    return (await response.json()) as EnqueuedRequest
  }

  private async get<Answer>(path: string, options: CallOptions, query?: URLSearchParams): Promise<Answer> {
    const suffix = query && query.size > 0 ? `?${query.toString()}` : ''
    const response = await this.send(`${this.baseUrl}${path}${suffix}`, options.signal ? {signal: options.signal} : {})
    return (await response.json()) as Answer
  }

  private reportUrl(account: string, range: string, options: ReportOptions): string {
    const query = new URLSearchParams()
    if (options.report !== undefined) query.set('report', options.report)
    const suffix = query.size > 0 ? `?${query.toString()}` : ''
    return `${this.baseUrl}/v1/insights/${encodeURIComponent(account)}/${encodeURIComponent(range)}${suffix}`
  }

  /**
   * Sends a request with the token.
   *
   * @throws AdwarmProblem for an error status, and with the status 0 when there is no answer.
   */
  private async send(url: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers)
    headers.set('Authorization', `Bearer ${this.token()}`)
    let response: Response
    try {
      // A redirect would take the token along.
      response = await this.fetch(url, {cache: 'no-cache', redirect: 'error', ...init, headers})
    } catch (error) {
      if (init.signal?.aborted) throw error
      throw new AdwarmProblem(0, 'No answer', 'the API cannot be reached; check the network')
    }
    if (!response.ok) throw await readProblem(response)
    return response
  }
}

function reportHeaders(options: ReportOptions): Record<string, string> {
  return {
    'Adwarm-Trigger': options.trigger ?? 'open',
    Prefer: `wait=${options.waitSeconds ?? DEFAULT_WAIT_SECONDS}${options.allowPartial ? ', allow-partial' : ''}`,
    // A header, since the browser's copy belongs to one URL.
    ...(options.priority ? {'Adwarm-Priority': options.priority} : {}),
    ...(options.requestId ? {'Adwarm-Request': options.requestId} : {}),
  }
}

/** Returns the document when it has the format that `columns()` and `rows()` read. */
function checkFormat(document: ReportDocument): ReportDocument {
  if (document.format_version === FORMAT_VERSION) return document
  const detail = `the report has format ${document.format_version}, and this client reads ${FORMAT_VERSION}; update it`
  throw new AdwarmProblem(200, 'Unknown format', detail)
}

async function readWaiting(response: Response, before: string | null): Promise<WaitingAnswer> {
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>
  const id = body['request_id'] ?? body['id'] ?? response.headers.get('adwarm-request') ?? before
  return {
    kind: 'waiting',
    requestId: id === null || id === undefined ? null : String(id),
    retryAfterSeconds: readRetryAfter(response.headers) ?? DEFAULT_RETRY_SECONDS,
    reason: typeof body['reason'] === 'string' ? body['reason'] : null,
    storedWindow: typeof body['stored_window'] === 'string' ? body['stored_window'] : null,
  }
}

/** Resolves after some seconds; rejects with the signal's reason when that is aborted before. */
export function delay(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error)
      return
    }
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, seconds * 1000)
    signal?.addEventListener('abort', stop, {once: true})
  })
}
