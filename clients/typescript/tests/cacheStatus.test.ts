import {describe, expect, it} from 'vitest'
import {readCacheStatus} from '../src/index.js'

describe('readCacheStatus', () => {
  it.each([
    ['adwarm; hit; ttl=600; key="act_1/last_7d"', 'hit', 600, 'act_1/last_7d'],
    ['adwarm; hit', 'hit', null, null],
    ['adwarm; hit; ttl=-30', 'stale', -30, null],
    ['adwarm; fwd=miss', 'miss', null, null],
    ['adwarm; fwd=miss; stored; ttl=9', 'miss', 9, null],
    ['adwarm; hit; key="a, b; ttl=-1"; ttl=5, proxy; fwd=miss', 'hit', 5, 'a, b; ttl=-1'],
    [null, 'miss', null, null],
  ] as const)('%s is %s', (header, result, ttlSeconds, key) => {
    expect(readCacheStatus(header)).toEqual({result, ttlSeconds, key})
  })
})
