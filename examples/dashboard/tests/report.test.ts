import {AdwarmProblem, type Gate, type ReportDocument} from '@adwarm/client'
import {describe, expect, it} from 'vitest'
import {niceMaximum} from '../src/chart'
import {outlook} from '../src/fatigue'
import {placementName} from '../src/placements'
import {daysBetween, sumAll, sumByAd, sumByDay} from '../src/report'
import {bytes, duration, errorTitle, gateText, makeFormats, rangeName, sentence, span} from '../src/words'

function makeReport(columns: Record<string, (string | null)[]>): ReportDocument {
  return {
    format_version: 3,
    account_id: 'act_1',
    date_range: 'last_3d',
    report: 'default',
    since: '2026-03-28',
    until: '2026-03-30',
    time_zone: 'Europe/Berlin',
    currency: 'EUR',
    query: {hash: '0123456789ab', level: 'ad', fields: ['spend'], attribution: 'unified', attribution_windows: []},
    source: 'meta',
    api_version: 'v26.0',
    days_fetched_at: null,
    data_version: 1,
    fetched_at: '2026-03-31T06:00:00Z',
    complete: true,
    settled: false,
    missing: null,
    summary: null,
    daily: {rows: columns['ad_id']?.length ?? 0, columns},
  }
}

const REPORT = makeReport({
  ad_id: ['1', '2', '1', '3'],
  ad_name: ['First', 'Second', 'First, renamed', null],
  date_start: ['2026-03-28', '2026-03-28', '2026-03-30', '2026-03-30'],
  spend: ['1.5', '2', '4', null],
  impressions: ['100', '200', '100', '50'],
  clicks: ['1', null, '3', null],
})

describe('sums', () => {
  it('have every day of the range, and nothing for a day without rows', () => {
    expect(sumByDay(REPORT).map(({day, spend, rate}) => [day, spend, rate])).toEqual([
      ['2026-03-28', 3.5, 1 / 300],
      ['2026-03-29', null, null],
      ['2026-03-30', 4, 3 / 150],
    ])
  })

  it('have every ad under its last name, the one with the highest spend first', () => {
    expect(sumByAd(REPORT).map(({id, name, spend, clicks, days}) => [id, name, spend, clicks, days])).toEqual([
      ['1', 'First, renamed', 5.5, 4, 2],
      ['2', 'Second', 2, null, 1],
      ['3', '3', null, null, 1],
    ])
  })

  it('count a day of an ad once, however many groups it is divided into', () => {
    const groups = makeReport({
      ad_id: ['1', '1', '1'],
      date_start: ['2026-03-28', '2026-03-28', '2026-03-30'],
      publisher_platform: ['facebook', 'instagram', 'facebook'],
      spend: ['1', '2', '4'],
    })
    expect(sumByAd(groups).map(({spend, days}) => [spend, days])).toEqual([[7, 2]])
    expect(placementName(['instagram', 'instagram_stories'])).toBe('Instagram, stories')
    expect(placementName(['audience_network', 'an_classic'])).toBe('Audience network, an classic')
    expect([placementName(['unknown', 'unknown']), placementName(['', ''])]).toEqual(['not named', 'not named'])
  })

  it('have the whole report, and no figures for an empty one', () => {
    expect(sumAll(REPORT)).toEqual({spend: 7.5, impressions: 450, clicks: 4, rate: 4 / 450})
    expect(sumAll(makeReport({}))).toEqual({spend: null, impressions: null, clicks: null, rate: null})
  })

  it('take link clicks where a report has no clicks', () => {
    const report = makeReport({ad_id: ['1'], date_start: ['2026-03-28'], inline_link_clicks: ['7']})
    expect(sumAll(report).clicks).toBe(7)
  })
})

describe('daysBetween', () => {
  it('has both ends, also across a change of summer time', () => {
    expect(daysBetween('2026-03-28', '2026-03-30')).toEqual(['2026-03-28', '2026-03-29', '2026-03-30'])
    expect(daysBetween('2026-03-28', '2026-03-28')).toHaveLength(1)
    expect(daysBetween('x', 'y')).toEqual([])
  })
})

describe('words', () => {
  it('are short', () => {
    expect([span(59), span(240), span(12_000), span(200_000)]).toEqual(['59 s', '4 min', '3 h 20 min', '2 days'])
    expect([bytes(820), bytes(2_840), bytes(389_000), bytes(1_470_000)]).toEqual(['820 B', '2.8 kB', '389 kB', '1.47 MB'])
    expect([rangeName('last_7d'), rangeName('this_month'), rangeName('data_maximum')]).toEqual([
      'Last 7 days',
      'This month',
      'Maximum with data',
    ])
  })

  it('have a dash for no value, and plain numbers for an unknown currency', () => {
    expect(makeFormats('EUR').money(1_234.5)).toBe('€1,235')
    expect(makeFormats('nothing').money(1_234)).toBe('1,234')
    expect(makeFormats('EUR').percent(null)).toBe('–')
  })

  it('say where a score is heading', () => {
    const score = {status: 'warning', trend_per_day: 2.5, days_to_critical: 4} as const
    expect(outlook(score)).toBe('+2.5 a day, critical in 4 days')
    expect(outlook({...score, trend_per_day: null, days_to_critical: null})).toBe('steady')
    expect(outlook({...score, status: 'critical', trend_per_day: -1})).toBe('critical, −1.0 a day')
  })
})

describe('niceMaximum', () => {
  it.each([
    [0, 0],
    [0.013, 0.02],
    [1, 1],
    [4_090, 5_000],
    [99, 100],
  ])('of %d is %d', (value, expected) => {
    expect(niceMaximum(value)).toBeCloseTo(expected)
  })
})

describe('what is said of problems', () => {
  it('tells a report that is not stored from one that may not be read', () => {
    expect(errorTitle(new AdwarmProblem(404, 'Not Stored', ''))).toBe('This report is not stored yet')
    expect(errorTitle(new AdwarmProblem(404, 'Not Found', ''))).toBe('There is no such report for this token')
  })

  it('is a sentence, and nothing when there is no detail', () => {
    expect(sentence('this token may not do that')).toBe('This token may not do that.')
    expect(sentence('It ends here.')).toBe('It ends here.')
    expect(sentence('')).toBe('')
  })

  it('says of a gate whose data is held back, why, and until when', () => {
    const gate: Gate = {
      scope: 'source:meta',
      account: null,
      rule: 'breaker',
      state: 'closed',
      since: '2026-01-01T10:00:00',
      until: '2026-01-01T10:05:00',
      opened_by: 'probes',
      why: '9 of 9 calls failed',
    }
    const now = new Date('2026-01-01T10:01:00')
    expect(gateText(gate, now)).toBe(
      'New data has been held back since 10:00 (9 of 9 calls failed). The next test is at 10:05.',
    )
    expect(gateText({...gate, account: 'act_1', rule: 'denial', opened_by: 'credential', why: ''}, now)).toBe(
      'New data for account act_1 has been held back since 10:00.',
    )
  })

  it('gives short times in milliseconds and long ones in seconds', () => {
    expect([duration(0.2), duration(21.4), duration(3_609)]).toEqual(['1 ms', '21 ms', '3.6 s'])
  })
})
