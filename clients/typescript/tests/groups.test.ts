import {describe, expect, it} from 'vitest'
import {sumGroups} from '../src/index.js'

const BY = ['publisher_platform', 'platform_position']
const TABLE = {
  rows: 5,
  columns: {
    publisher_platform: ['facebook', 'instagram', 'instagram', 'facebook', null],
    platform_position: ['feed', 'feed', 'feed', 'stories', null],
    spend: ['2', '3.5', '4', '1', null],
    impressions: ['100', '200', '200', null, '7'],
    clicks: ['1', '4', null, '3', null],
    reach: ['90', '150', '160', '1', '1'],
  },
}

describe('sums of groups', () => {
  it('are those of the rows of each group, by falling spend, and have no people', () => {
    expect(sumGroups(TABLE, BY)).toEqual([
      {group: ['instagram', 'feed'], spend: 7.5, impressions: 400, clicks: 4, clickRate: 0.01},
      {group: ['facebook', 'feed'], spend: 2, impressions: 100, clicks: 1, clickRate: 0.01},
      {group: ['facebook', 'stories'], spend: 1, impressions: null, clicks: 3, clickRate: null},
      {group: ['', ''], spend: null, impressions: 7, clicks: null, clickRate: null},
    ])
    expect(sumGroups(TABLE, ['publisher_platform']).map(({group, clicks}) => [...group, clicks])).toEqual([
      ['instagram', 4],
      ['facebook', 4],
      ['', null],
    ])
  })

  it('are none in a report without these breakdowns', () => {
    expect(sumGroups(TABLE, ['age'])).toEqual([])
    expect(sumGroups(TABLE, [])).toEqual([])
  })
})
