import {describe, expect, it} from 'vitest'
import {divide, readNumbers} from '../src/ratios.js'
import shared from './ratios.json'

// The same file is read by the tests of the Python client.
describe('ratios', () => {
  it.each(shared.ratios as [string | null, string | null, number, string | null][])(
    '%s / %s * %s is %s',
    (dividend, divisor, times, expected) => {
      expect(divide(readNumbers([dividend]), readNumbers([divisor]), times)).toEqual([expected])
    },
  )
})
