import {type AdwarmClient, AdwarmProblem, type Score} from '@adwarm/client'
import {useEffect, useId, useState} from 'react'
import {errorTitle, longDay, percentLost} from './words'

export type Band = Score['status']

/** From the worst to the best; the order of every list of bands on the page. */
export const BANDS: readonly (readonly [Band, string, string])[] = [
  ['critical', 'Critical', '35 % of the clicks for the same money lost or more'],
  ['warning', 'Warning', '15 to 35 % lost: prepare a new creative'],
  ['healthy', 'Healthy', 'less than 15 % lost'],
  ['pending', 'Pending', 'too little data to score'],
]
const BAND_NAMES = Object.fromEntries(BANDS.map(([band, name]) => [band, name])) as Record<Band, string>
const MAX_PAGES = 20

export interface Scores {
  readonly asOf: string | null
  readonly scores: readonly Score[]
}

/** Reads an account's scores; again whenever `version` changes, which is the time of the report's data. */
export function useScores(client: AdwarmClient, account: string, version: string | null) {
  const [state, setState] = useState<{account: string; scores: Scores | null; problem: string | null}>({
    account,
    scores: null,
    problem: null,
  })
  useEffect(() => {
    if (version === null) return
    const controller = new AbortController()
    readAll(client, account, controller.signal).then(
      (scores) => {
        if (!controller.signal.aborted) setState({account, scores, problem: null})
      },
      (error: unknown) => {
        if (controller.signal.aborted) return
        const problem = error instanceof AdwarmProblem ? errorTitle(error) : 'The scores could not be read'
        setState({account, scores: null, problem})
      },
    )
    return () => controller.abort()
  }, [client, account, version])
  return state.account === account ? state : {account, scores: null, problem: null}
}

async function readAll(client: AdwarmClient, account: string, signal: AbortSignal): Promise<Scores> {
  const scores: Score[] = []
  let cursor: string | null = null
  let asOf: string | null = null
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer = await client.scores(account, {signal, limit: 500, ...(cursor === null ? {} : {cursor})})
    scores.push(...answer.scores)
    asOf = answer.as_of
    cursor = answer.next_cursor
    if (cursor === null) break
  }
  return {asOf, scores}
}

export function BandTag({band}: {readonly band: Band}) {
  return (
    <span className={`band band-${band}`}>
      <span className="band-shape" aria-hidden="true" />
      {BAND_NAMES[band]}
    </span>
  )
}

interface FatigueProps {
  readonly scores: Scores | null
  readonly problem: string | null
}

/** How many ads are in each band, and the ones that need somebody first. */
export function Fatigue({scores, problem}: FatigueProps) {
  const id = useId()
  const list = scores?.scores ?? []
  const counts = BANDS.map(([band, name, meaning]) => ({
    band,
    name,
    meaning,
    count: list.filter(({status}) => status === band).length,
  }))
  const worst = list.filter(({loss}) => loss !== null).sort((a, b) => (b.loss ?? 0) - (a.loss ?? 0)).slice(0, 6)
  return (
    <section className="panel" aria-labelledby={id}>
      <header className="panel-head">
        <h2 id={id}>Ad fatigue</h2>
        {scores?.asOf && <p className="muted">as of {longDay(scores.asOf)}</p>}
      </header>
      {problem !== null && <p className="muted">{problem}.</p>}
      {scores !== null && list.length === 0 && <p className="muted">No scores yet for this account. They are made once a day, after its day has ended.</p>}
      {list.length > 0 && (
        <>
          <div className="band-bar" aria-hidden="true">
            {counts.map(
              ({band, count}) =>
                count > 0 && <div key={band} className={`band-${band}`} style={{flexGrow: count}} />,
            )}
          </div>
          <ul className="band-counts">
            {counts.map(({band, count, meaning}) => (
              <li key={band} title={meaning}>
                <BandTag band={band} />
                <strong>{count}</strong>
              </li>
            ))}
          </ul>
          <ol className="worst">
            {worst.map((score) => (
              <WorstAd key={score.ad_id} score={score} />
            ))}
          </ol>
        </>
      )}
    </section>
  )
}

function WorstAd({score}: {readonly score: Score}) {
  const lost = percentLost(score.loss)
  return (
    <li>
      <div className="worst-name">
        <span>{score.ad_name || score.ad_id}</span>
        <span className="muted">{outlook(score)}</span>
      </div>
      <div className="scale" aria-hidden="true">
        <i className="scale-tick" style={{left: '15%'}} />
        <i className="scale-tick" style={{left: '35%'}} />
        <div className={`scale-fill band-${score.status}`} style={{width: `${lost}%`}} />
      </div>
      <strong className="worst-total">
        {lost} %
        <span className="hidden-text"> fewer clicks for the same money, {BAND_NAMES[score.status]}</span>
      </strong>
    </li>
  )
}

/** Returns where an ad is heading, in words. */
export function outlook({
  status,
  trend_per_day: trend,
  days_to_critical: days,
}: Pick<Score, 'status' | 'trend_per_day' | 'days_to_critical'>): string {
  const pace = trend === null || Math.abs(trend) < 0.05 ? 'steady' : `${trend > 0 ? '+' : '−'}${Math.abs(trend).toFixed(1)} a day`
  if (status === 'critical') return `critical, ${pace}`
  if (days === null) return pace
  const rounded = Math.max(1, Math.round(days))
  return `${pace}, critical in ${rounded} ${rounded === 1 ? 'day' : 'days'}`
}
