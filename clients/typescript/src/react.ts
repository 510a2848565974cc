import {createContext, useContext, useEffect, useMemo, useState, useSyncExternalStore} from 'react'
import type {AdwarmClient, Priority} from './client.js'
import {type GroupSums, sumGroups} from './groups.js'
import {type MemoryPressure, readMemoryPressure} from './memory.js'
import {type Polled, PolledStore} from './polledStore.js'
import {type ReportState, ReportStore} from './reportStore.js'
import type {Gate, QueueState} from './status.js'
import {sharedStore, type Store} from './store.js'

export type {MemoryPressure} from './memory.js'
export type {Polled} from './polledStore.js'
export type {ReportState, Waiting} from './reportStore.js'

export interface ReportHookOptions {
  /** Class of the request in the queue when the report is missing or old. */
  readonly priority?: Priority
  /** Name of the report. */
  readonly report?: string
  /** Asks again at this interval; such a request is no open. */
  readonly refreshSeconds?: number
  /** How long the API may hold the answer back while a missing report is fetched. */
  readonly waitSeconds?: number
}

export interface ReportHookState extends ReportState {
  /** Asks for the report now, as somebody who opens it. Its identity changes with the key only. */
  readonly refresh: () => void
}

const ClientContext = createContext<AdwarmClient | null>(null)

/** Gives the hooks below it their client: `<AdwarmProvider value={client}>`. */
export const AdwarmProvider = ClientContext.Provider

/** Returns the client of the provider above. */
export function useAdwarmClient(): AdwarmClient {
  const client = useContext(ClientContext)
  if (client === null) throw new Error('put an <AdwarmProvider value={client}> above this component')
  return client
}

function useStore<State>(store: Store<State>): State {
  return useSyncExternalStore(store.subscribe, store.getSnapshot, store.getSnapshot)
}

/**
 * Shows a report, and keeps it up to date while the component is mounted.
 *
 * Old data stays on the screen while a fresh copy is fetched. Components with the same key share one request. Another
 * key cancels what is under way for the old one.
 *
 * @param account an account id, such as `act_1234`.
 * @param range a preset such as `last_7d`, or `YYYY-MM-DD..YYYY-MM-DD`.
 */
export function useAdwarmReport(
  account: string,
  range: string,
  {priority, report, refreshSeconds, waitSeconds}: ReportHookOptions = {},
): ReportHookState {
  const client = useAdwarmClient()
  const store = useMemo(() => {
    const options = {account, range, report, priority, refreshSeconds, waitSeconds}
    return sharedStore(client, JSON.stringify(options), () => new ReportStore(client, options))
  }, [client, account, range, report, priority, refreshSeconds, waitSeconds])
  const state = useStore(store)
  return useMemo(() => ({...state, refresh: store.refresh}), [state, store])
}

/**
 * Shows the sums of a report by group: spend, impressions, clicks and click rate, by falling spend.
 *
 * @param report what `useAdwarmReport` returned for a report with these breakdowns.
 * @param by breakdowns, such as `['publisher_platform', 'platform_position']`; a constant, not a new list each time.
 */
export function useGroups({data}: ReportHookState, by: readonly string[]): readonly GroupSums[] {
  return useMemo(() => (data === null ? [] : sumGroups(data.daily, by)), [data, by])
}

/** Shows the state of the request queue, asked for every `seconds`. */
export function useQueueStatus(seconds = 10): Polled<QueueState> {
  const client = useAdwarmClient()
  const store = useMemo(
    () => sharedStore(client, `queue ${seconds}`, () => new PolledStore((signal) => client.queue({signal}), seconds)),
    [client, seconds],
  )
  return useStore(store)
}

/** Shows what is not called now, asked for every `seconds`; `gatesOf` selects what concerns an account. */
export function useGates(seconds = 10): Polled<readonly Gate[]> {
  const client = useAdwarmClient()
  const store = useMemo(
    () => sharedStore(client, `gates ${seconds}`, () => new PolledStore((signal) => client.gates({signal}), seconds)),
    [client, seconds],
  )
  return useStore(store)
}

/**
 * Tells how full the page's memory is, where the browser knows (Chromium); elsewhere it does nothing.
 *
 * @param onHigh is called once whenever it becomes high: drop what can be fetched again.
 * @param threshold part of the limit from which it counts as high.
 */
export function useMemoryPressure(onHigh?: () => void, threshold = 0.8, seconds = 10): MemoryPressure {
  const [pressure, setPressure] = useState(() => readMemoryPressure(threshold))
  const {isKnown, isHigh} = pressure
  useEffect(() => {
    if (!isKnown) return
    const timer = setInterval(() => {
      const now = readMemoryPressure(threshold)
      setPressure((before) => (hasChanged(before, now) ? now : before))
    }, seconds * 1000)
    return () => clearInterval(timer)
  }, [isKnown, threshold, seconds])
  useEffect(() => {
    if (isHigh) onHigh?.()
    // A new callback alone is no new warning.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [isHigh])
  return pressure
}

function hasChanged(before: MemoryPressure, now: MemoryPressure): boolean {
  const percent = ({usedShare}: MemoryPressure) => Math.round((usedShare ?? 0) * 100)
  return before.isHigh !== now.isHigh || percent(before) !== percent(now)
}
