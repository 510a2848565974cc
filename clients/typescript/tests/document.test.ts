import {describe, expect, it} from 'vitest'
import {type Cell, columns, numbers, type ReportDocument, rows, type Row, type Table} from '../src/index.js'
import cases from './documents.json'

/** What a table has to be read as. */
interface Expected {
  readonly rows: readonly Row[]
  readonly columns: Readonly<Record<string, readonly Cell[]>>
}

interface Case {
  readonly document: ReportDocument
  readonly daily: Expected
  readonly summary: Expected | null
}

// adwarm itself wrote the documents, and the rows that they were made of.
const tables = Object.entries(cases as unknown as Record<string, Case>).flatMap(
  ([name, {document, daily, summary}]): [string, Table, Expected][] => [
    [name, document.daily, daily],
    ...(document.summary && summary ? [[`${name}: its summary`, document.summary, summary] as [string, Table, Expected]] : []),
  ],
)

describe.each(tables)('%s', (_, table, expected) => {
  it('gives the rows that were stored', () => {
    expect(rows(table)).toEqual(expected.rows)
  })

  it('gives a plain array per field, and per type and measure of a list of actions', () => {
    expect(columns(table)).toEqual(expected.columns)
  })

  it('gives each of them as numbers, NaN where a value is none', () => {
    for (const [name, values] of Object.entries(expected.columns)) {
      const isNumber = (value: Cell) => typeof value === 'number' || (typeof value === 'string' && value !== '')
      expect([...numbers(table, name)]).toEqual(values.map((value) => (isNumber(value) ? Number(value) : Number.NaN)))
    }
  })
})

describe('a table', () => {
  it('has NaN for every row of a column that it does not have', () => {
    expect([...numbers({rows: 2, columns: {}}, 'nothing')]).toEqual([Number.NaN, Number.NaN])
  })

  it('has an empty row for each row without columns', () => {
    expect(rows({rows: 2, columns: {}})).toEqual([{}, {}])
  })

  it('is not changed by reading it', () => {
    const table = tables.find(([name]) => name === 'lists that the columns cannot hold')![1]
    const before = structuredClone(table)
    columns(table)
    rows(table)
    expect(table).toEqual(before)
  })

  it('is refused when a type stands for one that is not there', () => {
    const table: Table = {rows: 1, columns: {actions: {by: 'action_type', items: {purchase: 'omni_purchase'}}}}
    expect(() => rows(table)).toThrow('no values for the actions purchase')
    expect(() => columns(table)).toThrow('no values for the actions purchase')
  })
})
