import {act, cleanup, renderHook} from '@testing-library/react'
import {type PropsWithChildren, StrictMode} from 'react'
import {afterEach, beforeEach, describe, expect, it, vi} from 'vitest'
import {AdwarmClient} from '../src/index.js'
import {
  AdwarmProvider,
  type ReportHookOptions,
  useAdwarmReport,
  useGates,
  useGroups,
  useMemoryPressure,
  useQueueStatus,
} from '../src/react.js'
import {
  type Answer,
  type Call,
  fakeFetch,
  makeDocument,
  ORIGIN,
  problemResponse,
  reportResponse,
  waitingResponse,
} from './fakeApi.js'

const isReport = (call: Call) => call.url.pathname.startsWith('/v1/insights/')
const GATE = {scope: 'source:meta', account: null, rule: 'breaker', state: 'closed', since: '2026-01-01T00:00:00Z'}
const OWN_GATE = {...GATE, scope: 'account:act_1', account: 'act_1', rule: 'park'}
const GATES = [
  GATE,
  {...OWN_GATE, account: 'act_2'},
  OWN_GATE,
  {...GATE, scope: 'switch:warming', rule: 'switch'},
  {...GATE, scope: 'fallback:stored', rule: 'isolation'},
  {...OWN_GATE, scope: 'connection:main account:act_1', rule: 'denial'},
]
const REQUEST = {id: 42, position: 3, status: 'pending', error: 'timed out'}

/** Answers reports from a list; the last answer repeats. Requests and gates are always there. */
function setUp(...answers: ((call: Call) => Answer)[]) {
  let reports = 0
  const {fetch, calls} = fakeFetch((call) => {
    if (call.url.pathname === '/v1/gates') return Response.json({at: '', gates: GATES})
    if (call.url.pathname.startsWith('/v1/requests/')) return Response.json(REQUEST)
    reports += 1
    return answers[Math.min(reports, answers.length) - 1]?.(call) ?? new Error('no answer is left')
  })
  const client = new AdwarmClient({baseUrl: ORIGIN, token: 'secret', fetch})
  const wrapper = ({children}: PropsWithChildren) => <AdwarmProvider value={client}>{children}</AdwarmProvider>
  return {client, wrapper, calls, reports: () => calls.filter(isReport)}
}

async function pass(seconds: number) {
  await act(() => vi.advanceTimersByTimeAsync(seconds * 1000))
}

const HIT = () => reportResponse('adwarm; hit; ttl=600')
const STALE = () => reportResponse('adwarm; hit; ttl=-5')
const triggers = (calls: Call[]) => calls.map(({headers}) => headers.get('adwarm-trigger'))

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  cleanup()
  vi.useRealTimers()
})

describe('useGroups', () => {
  it('sums the document of a report by group, and gives none before it is there', async () => {
    const by = ['age']
    const daily = {rows: 3, columns: {age: ['18-24', '65+', '18-24'], spend: ['1', '5', '2']}}
    const {wrapper} = setUp(() => reportResponse('adwarm; hit; ttl=600', makeDocument({daily})))
    const {result} = renderHook(() => useGroups(useAdwarmReport('act_1', 'last_7d'), by), {wrapper})
    expect(result.current).toEqual([])
    await pass(1)
    expect(result.current.map(({group, spend}) => [...group, spend])).toEqual([
      ['65+', 5],
      ['18-24', 3],
    ])
  })
})

describe('useAdwarmReport', () => {
  it('shows other days at once and names them, and waits only for a report that is missing', async () => {
    const partial = () =>
      reportResponse('adwarm; hit; ttl=-1', undefined, {'Adwarm-Window': '2026-01-01..2026-01-07', 'Adwarm-Degraded': '?1'})
    const {wrapper, reports} = setUp(() => waitingResponse(42), partial)
    const {result} = renderHook(() => useAdwarmReport('act_1', 'last_7d'), {wrapper})
    await pass(0)
    await pass(2)

    expect(result.current.data).not.toBeNull()
    expect(result.current.fallback?.otherWindow).toBe('2026-01-01..2026-01-07')
    expect(reports().slice(0, 2).map(({headers}) => headers.get('prefer'))).toEqual([
      'wait=0, allow-partial',
      'wait=5, allow-partial',
    ])
  })

  it('shows a hit with its age, and asks no more', async () => {
    const {wrapper, reports} = setUp(HIT)
    const {result} = renderHook(() => useAdwarmReport('act_1', 'last_7d'), {wrapper})
    expect(result.current).toMatchObject({status: 'waiting', isFetching: true, data: null})

    await pass(1)
    expect(result.current).toMatchObject({status: 'hit', isFetching: false, ageSeconds: 60, error: null})
    expect(result.current.data?.account_id).toBe('act_1')
    await pass(3_600)
    expect(reports()).toHaveLength(1)
  })

  it('keeps stale data on the screen and polls for a fresh copy with growing pauses', async () => {
    const fresh = makeDocument({fetched_at: '2026-01-08T09:00:00Z'})
    const {wrapper, reports} = setUp(STALE, STALE, STALE, () => reportResponse('adwarm; hit; ttl=9', fresh))
    const {result} = renderHook(() => useAdwarmReport('act_1', 'last_7d'), {wrapper})
    await pass(0.5)
    expect(result.current.status).toBe('stale')
    await pass(1)
    expect(reports()).toHaveLength(2)
    expect(result.current.data).not.toBeNull()
    await pass(2)
    expect(reports()).toHaveLength(3)
    await pass(3)
    expect(reports()).toHaveLength(3)
    await pass(1)
    expect(result.current.status).toBe('hit')
    expect(result.current.data?.fetched_at).toBe(fresh.fetched_at)
    expect(triggers(reports())).toEqual(['open', 'revalidate', 'revalidate', 'revalidate'])
  })

  it('gives up on a fresh copy that does not come', async () => {
    const {wrapper, reports} = setUp(STALE)
    renderHook(() => useAdwarmReport('act_1', 'last_7d'), {wrapper})
    await pass(86_400)
    expect(reports()).toHaveLength(11)
  })

  it('shows position, error and the breakers that concern it while it waits, and follows its request', async () => {
    const MISS = () => reportResponse('adwarm; fwd=miss; stored; ttl=9')
    const {wrapper, reports} = setUp(() => waitingResponse(42), MISS)
    const {result} = renderHook(() => useAdwarmReport('act_1', 'last_7d', {priority: 'high'}), {wrapper})
    await pass(1)
    expect(result.current.status).toBe('waiting')
    expect(result.current.waiting).toEqual({
      requestId: '42',
      position: 3,
      isRunning: false,
      lastError: 'timed out',
      reason: 'why',
      gates: [GATE, OWN_GATE],
    })
    await pass(2)
    expect(result.current).toMatchObject({status: 'miss', waiting: null})
    expect(reports().map(({headers}) => headers.get('adwarm-request'))).toEqual([null, '42'])
    expect(triggers(reports())).toEqual(['open', 'open'])
  })

  it('keeps data after an error, tells when it tries again, and recovers', async () => {
    const busy = () => problemResponse(503, 'try later', {'Retry-After': '4'})
    const {wrapper, reports} = setUp(HIT, busy, HIT)
    const {result} = renderHook(() => useAdwarmReport('act_1', 'last_7d', {refreshSeconds: 10}), {wrapper})
    await pass(11)
    expect(result.current).toMatchObject({status: 'error', retrySeconds: 4, error: {status: 503, detail: 'try later'}})
    expect(result.current.data).not.toBeNull()
    await pass(4)
    expect(result.current).toMatchObject({status: 'hit', error: null})
    expect(triggers(reports())).toEqual(['open', 'poll', 'poll'])
  })

  it('does not repeat what cannot succeed', async () => {
    const {wrapper, reports} = setUp(() => problemResponse(404, 'there is no such account'))
    const {result} = renderHook(() => useAdwarmReport('act_1', 'last_7d', {refreshSeconds: 5}), {wrapper})
    await pass(3_600)
    expect(reports()).toHaveLength(1)
    expect(result.current).toMatchObject({status: 'error', retrySeconds: null})
  })

  it('asks at once when somebody refreshes, as an open, and once however often it is called', async () => {
    const {wrapper, reports} = setUp(HIT)
    const {result} = renderHook(() => useAdwarmReport('act_1', 'last_7d'), {wrapper})
    await pass(1)
    act(() => {
      result.current.refresh()
      result.current.refresh()
    })
    await pass(1)
    expect(triggers(reports())).toEqual(['open', 'open'])
  })

  it('cancels for another key, and never shows an answer for the old one', async () => {
    const slow = () => new Promise<Response>(() => undefined)
    const {wrapper, reports} = setUp(slow, () =>
      reportResponse('adwarm; hit; ttl=5', makeDocument({account_id: 'act_2'})),
    )
    const {result, rerender} = renderHook(({account}) => useAdwarmReport(account, 'last_7d'), {
      wrapper,
      initialProps: {account: 'act_1'},
    })
    await pass(1)
    rerender({account: 'act_2'})
    expect(result.current.data).toBeNull()
    await pass(1)
    expect(reports()[0]?.signal?.aborted).toBe(true)
    expect(result.current.data?.account_id).toBe('act_2')
  })

  it('cancels at unmount, polls no more and sets no state', async () => {
    const error = vi.spyOn(console, 'error')
    const {wrapper, reports} = setUp(STALE)
    const {unmount} = renderHook(() => useAdwarmReport('act_1', 'last_7d', {refreshSeconds: 5}), {wrapper})
    await pass(0.5)
    unmount()
    await pass(600)
    expect(reports()).toHaveLength(1)
    expect(error).not.toHaveBeenCalled()
  })

  it('sends one open in strict mode', async () => {
    const {client, reports} = setUp(HIT)
    const wrapper = ({children}: PropsWithChildren) => (
      <StrictMode>
        <AdwarmProvider value={client}>{children}</AdwarmProvider>
      </StrictMode>
    )
    const {result} = renderHook(() => useAdwarmReport('act_1', 'last_7d'), {wrapper})
    await pass(1)
    expect(result.current.status).toBe('hit')
    expect(reports()).toHaveLength(1)
  })

  it('shares one request between components, whose identities do not change without news', async () => {
    const {wrapper, reports} = setUp(HIT)
    const options: ReportHookOptions = {report: 'weekly'}
    const both = () => [useAdwarmReport('act_1', 'last_7d', {...options}), useAdwarmReport('act_1', 'last_7d', options)]
    const {result, rerender} = renderHook(both, {wrapper})
    await pass(1)
    const [first, second] = result.current
    rerender()
    expect(reports()).toHaveLength(1)
    expect(first?.data).toBe(second?.data)
    expect(result.current[0]).toBe(first)
    expect(result.current[0]?.refresh).toBe(first?.refresh)
  })

  it('does not poll while the page is hidden', async () => {
    const {wrapper, reports} = setUp(HIT)
    const visibility = vi.spyOn(document, 'visibilityState', 'get').mockReturnValue('hidden')
    renderHook(() => useAdwarmReport('act_1', 'last_7d', {refreshSeconds: 5}), {wrapper})
    await pass(60)
    expect(reports()).toHaveLength(1)
    visibility.mockReturnValue('visible')
    act(() => {
      document.dispatchEvent(new Event('visibilitychange'))
    })
    await pass(0.1)
    expect(triggers(reports())).toEqual(['open', 'poll'])
  })

  it('says what is missing without a provider', () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined)
    expect(() => renderHook(() => useAdwarmReport('act_1', 'last_7d'))).toThrow(/AdwarmProvider/)
  })
})

describe('useQueueStatus and useGates', () => {
  it('ask again while they are shown, and keep the last answer after an error', async () => {
    let isBroken = false
    const {fetch, calls} = fakeFetch((call) => {
      if (isBroken) return problemResponse(503, 'down')
      return call.url.pathname === '/v1/queue' ? Response.json({pending: 4}) : Response.json({gates: [GATE]})
    })
    const client = new AdwarmClient({baseUrl: ORIGIN, token: 'secret', fetch})
    const wrapper = ({children}: PropsWithChildren) => <AdwarmProvider value={client}>{children}</AdwarmProvider>
    const {result, unmount} = renderHook(() => ({queue: useQueueStatus(5), gates: useGates(5)}), {wrapper})
    await pass(1)
    expect(result.current.queue.data?.pending).toBe(4)
    expect(result.current.gates.data).toEqual([GATE])
    isBroken = true
    await pass(5)
    expect(calls).toHaveLength(4)
    expect(result.current.queue).toMatchObject({data: {pending: 4}, error: {status: 503}})
    unmount()
    await pass(600)
    expect(calls).toHaveLength(4)
  })

  it('stop when the token may not see it', async () => {
    const {fetch, calls} = fakeFetch(() => problemResponse(403, 'needs the scope admin'))
    const client = new AdwarmClient({baseUrl: ORIGIN, token: 'secret', fetch})
    const wrapper = ({children}: PropsWithChildren) => <AdwarmProvider value={client}>{children}</AdwarmProvider>
    renderHook(() => useQueueStatus(5), {wrapper})
    await pass(600)
    expect(calls).toHaveLength(1)
  })
})

describe('useMemoryPressure', () => {
  afterEach(() => {
    Reflect.deleteProperty(performance, 'memory')
  })

  it('warns once when more than four fifths are used, and again after it was low', async () => {
    const memory = {usedJSHeapSize: 50, jsHeapSizeLimit: 100}
    Object.defineProperty(performance, 'memory', {value: memory, configurable: true})
    const onHigh = vi.fn()
    const {result} = renderHook(() => useMemoryPressure(onHigh))
    await pass(20)
    expect(onHigh).not.toHaveBeenCalled()
    memory.usedJSHeapSize = 81
    await pass(30)
    expect(result.current).toEqual({isKnown: true, isHigh: true, usedShare: 0.81})
    expect(onHigh).toHaveBeenCalledTimes(1)
    memory.usedJSHeapSize = 10
    await pass(10)
    memory.usedJSHeapSize = 90
    await pass(10)
    expect(onHigh).toHaveBeenCalledTimes(2)
  })

  it('does nothing where the browser does not tell', async () => {
    const onHigh = vi.fn()
    const {result} = renderHook(() => useMemoryPressure(onHigh))
    expect(result.current.isKnown).toBe(false)
    expect(vi.getTimerCount()).toBe(0)
    await pass(60)
    expect(onHigh).not.toHaveBeenCalled()
  })
})
