import {describe, expect, it} from 'vitest'
import {columns, numbers, rows, type Table} from '../src/index.js'

const TABLE: Table = {
  rows: 3,
  columns: {
    ad_id: ['1', '2', '3'],
    spend: ['1.5', null, '0'],
    actions: {
      by: 'action_type',
      items: {
        link_click: {value: ['4', null, '6'], '7d_click': ['1', null, null]},
        purchase: {value: [null, null, '2']},
      },
      exceptions: {'1': []},
    },
  },
}

describe('rows', () => {
  it('gives back what the platform sent: lists of items, no field without a value', () => {
    expect(rows(TABLE)).toEqual([
      {ad_id: '1', spend: '1.5', actions: [{action_type: 'link_click', value: '4', '7d_click': '1'}]},
      {ad_id: '2', actions: []},
      {
        ad_id: '3',
        spend: '0',
        actions: [
          {action_type: 'link_click', value: '6'},
          {action_type: 'purchase', value: '2'},
        ],
      },
    ])
  })

  it('gives an empty row for each row of a table without columns', () => {
    expect(rows({rows: 2, columns: {}})).toEqual([{}, {}])
  })
})

describe('columns', () => {
  it('names the items of a pivoted column, and their measures', () => {
    expect(Object.keys(columns(TABLE))).toEqual([
      'ad_id',
      'spend',
      'actions.link_click',
      'actions.link_click.7d_click',
      'actions.purchase',
    ])
    expect(columns(TABLE)['actions.purchase']).toEqual([null, null, '2'])
  })
})

describe('numbers', () => {
  it('reads numeric strings, and gives NaN for no value', () => {
    expect([...numbers(TABLE, 'spend')]).toEqual([1.5, Number.NaN, 0])
    expect([...numbers(TABLE, 'actions.link_click')]).toEqual([4, Number.NaN, 6])
    expect([...numbers(TABLE, 'nothing')]).toEqual([Number.NaN, Number.NaN, Number.NaN])
  })
})
