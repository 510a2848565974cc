import {afterEach, beforeEach, describe, expect, it, vi} from 'vitest'
import {AdwarmClient, AdwarmProblem} from '../src/index.js'
import {toTransfer} from '../src/transfer.js'
import {type Answer, type Call, fakeFetch, makeDocument, ORIGIN, problemResponse, reportResponse, waitingResponse} from './fakeApi.js'

function makeClient(answer: (call: Call, index: number) => Answer) {
  const {fetch, calls} = fakeFetch(answer)
  return {client: new AdwarmClient({baseUrl: `${ORIGIN}/`, token: 'secret', fetch}), calls}
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('tryReport', () => {
  it('sends the token and what lets a browser use its copy, and keeps the token out of the URL', async () => {
    const {client, calls} = makeClient(() => reportResponse('adwarm; hit; ttl=5'))
    await client.tryReport('act_1', '2026-01-01..2026-01-07', {report: 'weekly', priority: 'high'})

    const [call] = calls
    expect(call?.url.href).toBe(`${ORIGIN}/v1/insights/act_1/2026-01-01..2026-01-07?report=weekly`)
    expect(call?.init.cache).toBe('no-cache')
    expect(call?.init.redirect).toBe('error')
    expect(Object.fromEntries(call?.headers ?? [])).toEqual({
      Authorization: 'Bearer secret',
      'Adwarm-Trigger': 'open',
      'Adwarm-Priority': 'high',
      Prefer: 'wait=5',
    })
    expect(call?.url.href).not.toContain('secret')
  })

  it('asks for other days only when they are allowed', async () => {
    const {client, calls} = makeClient(() => reportResponse('adwarm; hit; ttl=5'))
    await client.tryReport('act_1', 'last_7d', {allowPartial: true, waitSeconds: 3})
    await client.tryReport('act_1', 'last_7d')
    expect(calls.map(({headers}) => headers.get('prefer'))).toEqual(['wait=3, allow-partial', 'wait=5'])
  })

  it('tells how the report came', async () => {
    const {client} = makeClient(() => reportResponse('adwarm; hit; ttl=-9', undefined, {'Content-Encoding': 'zstd'}))
    const answer = await client.tryReport('act_1', 'last_7d')

    expect(answer).toMatchObject({kind: 'report', status: 'stale', ageSeconds: 60, ttlSeconds: -9, coding: 'zstd'})
  })

  it('tells which fallback answered, and why', async () => {
    const {client} = makeClient(() =>
      reportResponse('adwarm; hit; ttl=-1; detail="degraded"', undefined, {
        'Adwarm-Source': 'partitions',
        'Adwarm-Degraded': '?1',
        'Adwarm-Reason': '"no \\"summary\\", of 3 days"',
        'Adwarm-Actions': '"fallback entry failed: NotFound: x", "b, c"',
        'Adwarm-Window': '2026-01-01..2026-01-06',
      }),
    )
    expect(await client.tryReport('act_1', 'last_7d')).toMatchObject({
      status: 'stale',
      source: 'partitions',
      isDegraded: true,
      reason: 'no "summary", of 3 days',
      actions: ['fallback entry failed: NotFound: x', 'b, c'],
      otherWindow: '2026-01-01..2026-01-06',
    })
  })

  it.each([
    ['adwarm; hit; ttl=9', 'entry'],
    ['adwarm; fwd=miss; stored; ttl=9', 'upstream'],
  ])('%s without further headers came from %s', async (cacheStatus, source) => {
    const {client} = makeClient(() => reportResponse(cacheStatus))
    const answer = await client.tryReport('act_1', 'last_7d')
    expect(answer).toMatchObject({source, isDegraded: false, reason: null, actions: []})
  })

  it('escapes what would leave the path', async () => {
    const {client, calls} = makeClient(() => reportResponse('adwarm; hit'))
    await client.tryReport('../x', 'a?b#c')
    expect(calls[0]?.url.pathname).toBe('/v1/insights/..%2Fx/a%3Fb%23c')
  })

  it('refuses a format that it does not know', async () => {
    const {client} = makeClient(() => reportResponse('adwarm; hit', makeDocument({format_version: 4})))
    await expect(client.tryReport('act_1', 'last_7d')).rejects.toMatchObject({title: 'Unknown format'})
  })

  it('asks for the token each time', async () => {
    let token = 'one'
    const {fetch, calls} = fakeFetch(() => reportResponse('adwarm; hit'))
    const client = new AdwarmClient({baseUrl: ORIGIN, token: () => token, fetch})
    await client.tryReport('act_1', 'last_7d')
    token = 'two'
    await client.tryReport('act_1', 'last_7d')
    expect(calls.map(({headers}) => headers.get('authorization'))).toEqual(['Bearer one', 'Bearer two'])
  })
})

describe('report', () => {
  it('follows 202 with the request id until the report is there', async () => {
    const answers = [waitingResponse(42, '3'), waitingResponse(42, '1'), reportResponse('adwarm; fwd=miss; stored')]
    const {client, calls} = makeClient((_, index) => answers[index] ?? new Error('one call too many'))
    const onWaiting = vi.fn()
    const promise = client.report('act_1', 'last_7d', {onWaiting})

    await vi.advanceTimersByTimeAsync(2_900)
    expect(calls).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(1_200)
    expect((await promise).status).toBe('miss')
    expect(calls.map(({headers}) => headers.get('adwarm-request'))).toEqual([null, '42', '42'])
    expect(onWaiting).toHaveBeenCalledTimes(2)
    expect(onWaiting).toHaveBeenCalledWith(expect.objectContaining({requestId: '42', reason: 'why'}))
  })

  it('stops when it is aborted, during a call and between two', async () => {
    const {client, calls} = makeClient(() => waitingResponse(1, '60'))
    const controller = new AbortController()
    const promise = client.report('act_1', 'last_7d', {signal: controller.signal})
    const rejected = expect(promise).rejects.toMatchObject({name: 'AbortError'})
    await vi.advanceTimersByTimeAsync(10)
    controller.abort()
    await rejected
    await vi.advanceTimersByTimeAsync(120_000)
    expect(calls).toHaveLength(1)

    const hanging = makeClient(() => new Promise<Response>(() => undefined))
    const second = new AbortController()
    const never = hanging.client.report('act_1', 'last_7d', {signal: second.signal})
    second.abort()
    await expect(never).rejects.toMatchObject({name: 'AbortError'})
  })
})

describe('errors', () => {
  it('are problems with status, detail, further members and the time to retry', async () => {
    const {client} = makeClient(() => problemResponse(429, 'slow down', {'Retry-After': '7'}))
    const problem = await client.queue().catch((error: unknown) => error)

    expect(problem).toBeInstanceOf(AdwarmProblem)
    expect(problem).toMatchObject({status: 429, detail: 'slow down', retryAfterSeconds: 7, fields: {extra: 7}})
    expect((problem as AdwarmProblem).isTemporary).toBe(true)
  })

  it('have a status text when a proxy answers with a page', async () => {
    const {client} = makeClient(() => new Response('<h1>no</h1>', {status: 502, statusText: 'Bad Gateway'}))
    await expect(client.queue()).rejects.toMatchObject({status: 502, title: 'Bad Gateway', detail: ''})
  })

  it('say that nothing answered', async () => {
    const {client} = makeClient(() => new TypeError('failed to fetch'))
    await expect(client.queue()).rejects.toMatchObject({status: 0, isTemporary: true})
  })

  it('never hold the token', async () => {
    const {client} = makeClient(() => problemResponse(401, 'send a valid token'))
    const problem = (await client.queue().catch((error: unknown) => error)) as AdwarmProblem
    expect(JSON.stringify([problem.message, problem.stack, problem.fields, client])).not.toContain('"secret"')
  })
})

describe('the other calls', () => {
  it('use the documented paths', async () => {
    const {client, calls} = makeClient(() => Response.json({gates: []}))
    await client.accounts()
    await client.queue()
    await client.gates()
    await client.request(7)
    await client.scores('act_1', {asOf: '2026-01-01', adId: '5', limit: 10, cursor: 'x'})
    await client.scores('act_1', {alarm: 'alarm'})
    await client.scoreChanges('act_1', {since: '2026-01-01', asOf: '2026-01-02'})
    await client.scoreSummary('act_1')
    await client.enqueue('act_1', 'last_7d', {priority: 'low'})

    expect(calls.map(({init, url}) => `${init.method ?? 'GET'} ${url.pathname}${url.search}`)).toEqual([
      'GET /v1/accounts',
      'GET /v1/queue',
      'GET /v1/gates',
      'GET /v1/requests/7',
      'GET /v1/scores/act_1?ad_id=5&as_of=2026-01-01&limit=10&cursor=x',
      'GET /v1/scores/act_1?alarm=alarm',
      'GET /v1/scores/act_1/changes?since=2026-01-01&as_of=2026-01-02',
      'GET /v1/scores/act_1/summary',
      'POST /v1/requests',
    ])
    const body = {account: 'act_1', range: 'last_7d', report: 'default', priority: 'low'}
    expect(JSON.parse(String(calls.at(-1)?.init.body))).toEqual(body)
  })
})

describe('toTransfer', () => {
  it('takes the headers off, and counts a valid copy as nothing sent', () => {
    const sizes = {transferSize: 3_100, encodedBodySize: 2_800, decodedBodySize: 389_000}
    expect(toTransfer(sizes)).toEqual({
      wireBytes: 2_800,
      decodedBytes: 389_000,
      savedBytes: 386_200,
      isNotModified: false,
    })
    expect(toTransfer({...sizes, transferSize: 300})).toMatchObject({wireBytes: 0, isNotModified: true})
    expect(toTransfer({transferSize: 0, encodedBodySize: 0, decodedBodySize: 0})).toBeNull()
  })
})
