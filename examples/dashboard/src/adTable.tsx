import type {Score} from '@adwarm/client'
import {useId, useMemo, useState} from 'react'
import {type Band, BANDS, BandTag} from './fatigue'
import type {AdFigures} from './report'
import {type Formats, percentLost} from './words'

const PAGE_ROWS = 25

type SortKey = 'name' | 'score' | 'spend' | 'impressions' | 'clicks' | 'rate'

interface AdRow extends AdFigures {
  readonly score: Score | null
}

const COLUMNS: readonly (readonly [SortKey, string])[] = [
  ['name', 'Ad'],
  ['score', 'Fatigue'],
  ['spend', 'Spend'],
  ['impressions', 'Impressions'],
  ['clicks', 'Clicks'],
  ['rate', 'Click rate'],
]

/** Whether a column is aligned to the left; the arrow stands on the free side of its title. */
const isText = (key: SortKey) => key === 'name' || key === 'score'

interface TableProps {
  readonly ads: readonly AdFigures[]
  readonly scores: readonly Score[]
  readonly formats: Formats
}

/** Every ad of the report: sorted by any column, filtered by name and band, a page at a time. */
export function AdTable({ads, scores, formats}: TableProps) {
  const id = useId()
  const [sort, setSort] = useState<{key: SortKey; isDown: boolean}>({key: 'spend', isDown: true})
  const [filter, setFilter] = useState('')
  const [band, setBand] = useState<Band | ''>('')
  const [page, setPage] = useState(0)
  const rows = useMemo(() => {
    const byId = new Map(scores.map((score) => [score.ad_id, score]))
    const wanted = filter.trim().toLowerCase()
    return ads
      .map((ad): AdRow => ({...ad, score: byId.get(ad.id) ?? null}))
      .filter((ad) => `${ad.name} ${ad.id}`.toLowerCase().includes(wanted))
      .filter((ad) => band === '' || ad.score?.status === band)
      .sort((a, b) => (sort.isDown ? compare(b, a, sort.key) : compare(a, b, sort.key)))
  }, [ads, scores, filter, band, sort])
  const pages = Math.max(1, Math.ceil(rows.length / PAGE_ROWS))
  const current = Math.min(page, pages - 1)

  function sortBy(key: SortKey) {
    setSort(({key: before, isDown}) => ({key, isDown: before === key ? !isDown : key !== 'name'}))
    setPage(0)
  }

  return (
    <section className="panel" aria-labelledby={id}>
      <header className="panel-head">
        <h2 id={id}>Ads</h2>
        <div className="table-filters">
          <label>
            <span className="hidden-text">Filter by name or id</span>
            <input
              type="search"
              placeholder="Filter by name or id"
              value={filter}
              onChange={(event) => {
                setFilter(event.target.value)
                setPage(0)
              }}
            />
          </label>
          <label>
            <span className="hidden-text">Filter by band</span>
            <select
              value={band}
              onChange={(event) => {
                setBand(event.target.value as Band | '')
                setPage(0)
              }}
            >
              <option value="">All bands</option>
              {BANDS.map(([value, name]) => (
                <option key={value} value={value}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        </div>
      </header>
      <div className="table-box" tabIndex={0} role="region" aria-labelledby={id}>
        <table>
          <thead>
            <tr>
              {COLUMNS.map(([key, label]) => (
                <th key={key} scope="col" className={`column-${key}`} aria-sort={ariaSort(sort, key)}>
                  <button onClick={() => sortBy(key)}>
                    {isText(key) && label}
                    <span className="sort" aria-hidden="true">
                      {sort.key === key ? (sort.isDown ? '↓' : '↑') : ''}
                    </span>
                    {!isText(key) && label}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(current * PAGE_ROWS, (current + 1) * PAGE_ROWS).map((ad) => (
              <tr key={ad.id}>
                <th scope="row">
                  {ad.name}
                  {ad.name !== ad.id && (
                    <span className="ad-id" title={ad.id}>
                      {ad.id}
                    </span>
                  )}
                </th>
                <td className="column-score">{ad.score ? <ScoreCell score={ad.score} /> : '–'}</td>
                <td>{formats.money(ad.spend)}</td>
                <td>{formats.count(ad.impressions)}</td>
                <td>{formats.count(ad.clicks)}</td>
                <td>{formats.percent(ad.rate)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <footer className="pager">
        <p className="muted" role="status">
          {rows.length === 0
            ? 'No ad matches.'
            : `${current * PAGE_ROWS + 1}–${Math.min(rows.length, (current + 1) * PAGE_ROWS)} of ${rows.length} ads`}
        </p>
        <div>
          <button onClick={() => setPage(current - 1)} disabled={current === 0}>
            Previous
          </button>
          <button onClick={() => setPage(current + 1)} disabled={current >= pages - 1}>
            Next
          </button>
        </div>
      </footer>
    </section>
  )
}

function ScoreCell({score}: {readonly score: Score}) {
  return (
    <>
      <BandTag band={score.status} /> {score.loss !== null && <span className="score">{percentLost(score.loss)} % lost</span>}
    </>
  )
}

function ariaSort(sort: {key: SortKey; isDown: boolean}, key: SortKey): 'ascending' | 'descending' | 'none' {
  if (sort.key !== key) return 'none'
  return sort.isDown ? 'descending' : 'ascending'
}

function compare(a: AdRow, b: AdRow, key: SortKey): number {
  if (key === 'name') return a.name.localeCompare(b.name, 'en', {numeric: true})
  if (key === 'score') return (a.score?.loss ?? -1) - (b.score?.loss ?? -1)
  return (a[key] ?? -1) - (b[key] ?? -1)
}
