import type {CacheResult} from './cacheStatus.js'
import type {AdwarmClient, Priority, ReportAnswer, Trigger, WaitingAnswer} from './client.js'
import type {ReportDocument} from './document.js'
import type {Fallback} from './fallback.js'
import {AdwarmProblem} from './problem.js'
import {Store} from './store.js'
import type {Transfer} from './transfer.js'
import {type Gate, gatesOf, type RequestState} from './status.js'

/** What is known about a report that is to be waited for. */
export interface Waiting {
  readonly requestId: string | null
  /** Requests ahead of it and itself: 1 is next; null when the API does not say. */
  readonly position: number | null
  /** Whether it is being fetched now. */
  readonly isRunning: boolean
  /** Why the last attempt to fetch it failed; null when none did, or the API does not say. */
  readonly lastError: string | null
  /** Why it is not there yet; null when the API does not say. */
  readonly reason: string | null
  /** What keeps new data of this account back: it is not called for now. */
  readonly gates: readonly Gate[]
}

/** A report on the screen, how it came, and what is under way. */
export interface ReportState {
  /** The last report that came; it stays while another one is fetched and after an error. */
  readonly data: ReportDocument | null
  /** `waiting` until the first answer, and while a missing report is fetched. */
  readonly status: CacheResult | 'waiting' | 'error'
  readonly isFetching: boolean
  /** Age of the data in seconds when it came. */
  readonly ageSeconds: number | null
  /** How it was compressed; null when the browser does not tell. */
  readonly coding: string | null
  readonly milliseconds: number | null
  readonly wireBytes: number | null
  readonly decodedBytes: number | null
  readonly savedBytes: number | null
  /** Whether the browser's copy was still valid, so that no body was sent. */
  readonly isNotModified: boolean
  /** Where it came from when its stored entry was no hit; null before the first answer. */
  readonly fallback: Fallback | null
  readonly waiting: Waiting | null
  readonly error: AdwarmProblem | null
  /** Seconds until the next try after an error; null when there is none. */
  readonly retrySeconds: number | null
}

export interface ReportStoreOptions {
  readonly account: string
  readonly range: string
  readonly report: string | undefined
  readonly priority: Priority | undefined
  readonly waitSeconds: number | undefined
  readonly refreshSeconds: number | undefined
}

const EMPTY: ReportState = {
  data: null,
  status: 'waiting',
  isFetching: true,
  ageSeconds: null,
  coding: null,
  milliseconds: null,
  wireBytes: null,
  decodedBytes: null,
  savedBytes: null,
  isNotModified: false,
  fallback: null,
  waiting: null,
  error: null,
  retrySeconds: null,
}
const NO_DETAILS: Waiting = {
  requestId: null,
  position: null,
  isRunning: false,
  lastError: null,
  reason: null,
  gates: [],
}
const WAIT_SECONDS = 5
const MAX_STALE_CHECKS = 10
const MAX_RETRIES = 6
const MAX_BACKOFF_SECONDS = 60

/** Keeps one report up to date while somebody looks at it. */
export class ReportStore extends Store<ReportState> {
  constructor(
    private readonly client: AdwarmClient,
    private readonly options: ReportStoreOptions,
  ) {
    super(EMPTY)
  }

  /** Asks for the report now, as somebody who opens it. Does nothing while it is asked for. */
  readonly refresh = (): void => {
    if (!this.getSnapshot().isFetching) this.wakeUp()
  }

  protected async run(signal: AbortSignal): Promise<void> {
    let trigger: Trigger = 'open'
    let requestId: string | null = null
    let staleChecks = 0
    let failures = 0
    while (!signal.aborted) {
      this.set({isFetching: true}, signal)
      let seconds: number | null
      try {
        const {account, range, report, priority, waitSeconds} = this.options
        const answer: ReportAnswer | WaitingAnswer = await this.client.tryReport(account, range, {
          trigger,
          requestId,
          signal,
          allowPartial: true,
          // What is stored is shown at once, old or not; only a missing report is waited for.
          waitSeconds: waitSeconds ?? (requestId === null ? 0 : WAIT_SECONDS),
          ...(report === undefined ? {} : {report}),
          ...(priority === undefined ? {} : {priority}),
        })
        failures = 0
        requestId = answer.kind === 'waiting' ? answer.requestId : null
        if (answer.kind === 'waiting') {
          this.showWaiting(answer, signal)
          seconds = answer.retryAfterSeconds
        } else {
          this.show(answer, signal)
          staleChecks = answer.status === 'stale' ? staleChecks + 1 : 0
          const isAwaited = staleChecks > 0 && staleChecks <= MAX_STALE_CHECKS
          seconds = isAwaited ? backoff(staleChecks - 1) : (this.options.refreshSeconds ?? null)
          trigger = isAwaited ? 'revalidate' : 'poll'
        }
      } catch (error) {
        seconds = this.showError(error, failures, signal)
        failures += 1
      }
      if (await this.pause(seconds, signal)) {
        ;[trigger, staleChecks, failures] = ['open', 0, 0]
      }
    }
  }

  private show(answer: ReportAnswer, signal: AbortSignal): void {
    const {source, isDegraded, reason, actions, otherWindow} = answer
    this.set(
      {
        ...EMPTY,
        fallback: {source, isDegraded, reason, actions, otherWindow},
        data: answer.document,
        status: answer.status,
        isFetching: false,
        ageSeconds: answer.ageSeconds,
        coding: answer.coding,
        milliseconds: answer.milliseconds,
      },
      signal,
    )
    const {document} = answer
    void answer.transfer.then((transfer: Transfer | null) => {
      if (transfer !== null && this.getSnapshot().data === document) this.set(transfer, signal)
    })
  }

  private showWaiting(answer: WaitingAnswer, signal: AbortSignal): void {
    const {requestId, reason} = answer
    const before = this.getSnapshot().waiting ?? NO_DETAILS
    this.set({status: 'waiting', isFetching: false, error: null, waiting: {...before, requestId, reason}}, signal)
    void this.addDetails(signal)
  }

  /** Adds the position in the queue and the gates that are closed, as far as the token may see them. */
  private async addDetails(signal: AbortSignal): Promise<void> {
    const id = this.getSnapshot().waiting?.requestId ?? null
    const [request, gates] = await Promise.allSettled([
      id === null ? Promise.resolve(null) : this.client.request(id, {signal}),
      this.client.gates({signal}),
    ])
    const {waiting} = this.getSnapshot()
    if (waiting === null || waiting.requestId !== id) return
    const details: Partial<Waiting> = {
      ...(request.status === 'fulfilled' && readRequest(request.value)),
      ...(gates.status === 'fulfilled' && {gates: gatesOf(gates.value, this.options.account)}),
    }
    this.set({waiting: {...waiting, ...details}}, signal)
  }

  /** Shows an error and returns the seconds until the next try; null when another try does not help. */
  private showError(error: unknown, failures: number, signal: AbortSignal): number | null {
    const problem =
      error instanceof AdwarmProblem
        ? error
        : new AdwarmProblem(0, 'Unreadable answer', error instanceof Error ? error.message : String(error))
    const canRetry = problem.isTemporary && failures < MAX_RETRIES
    const retrySeconds = canRetry ? (problem.retryAfterSeconds ?? backoff(failures)) : null
    this.set({status: 'error', isFetching: false, waiting: null, error: problem, retrySeconds}, signal)
    return retrySeconds
  }
}

function readRequest(request: RequestState | null): Pick<Waiting, 'position' | 'isRunning' | 'lastError'> {
  return {
    position: request?.position ?? null,
    isRunning: request?.status === 'processing',
    lastError: request?.error ?? null,
  }
}

function backoff(tries: number): number {
  return Math.min(2 ** tries, MAX_BACKOFF_SECONDS)
}
