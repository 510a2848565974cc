import type {Breaker} from '@adwarm/client'
import type {ReportHookState} from '@adwarm/client/react'
import {breakerText, errorTitle, span} from './words'

/** Says that the platform does not answer, for the breakers that concern the account. */
export function BreakerBanner({breakers}: {readonly breakers: readonly Breaker[]}) {
  if (breakers.length === 0) return null
  const isTesting = breakers.every(({state}) => state === 'half_open')
  return (
    <section className="banner banner-breaker" role="alert">
      <h2>{isTesting ? 'The ad platform is being tested again' : 'The ad platform does not answer'}</h2>
      {breakers.map((breaker) => (
        <p key={`${breaker.source} ${breaker.account ?? ''}`}>{breakerText(breaker)}</p>
      ))}
      <p>What is stored can still be read.</p>
    </section>
  )
}

/** Says what went wrong, what to do, and whether the page tries again by itself. */
export function ErrorBanner({report}: {readonly report: ReportHookState}) {
  const {error, retrySeconds, data} = report
  if (error === null) return null
  return (
    <section className="banner banner-error" role="alert">
      <h2>{errorTitle(error)}</h2>
      <p>
        {error.detail && `${capitalized(error.detail)}. `}
        {data !== null && 'Below is the last report that could be read. '}
        {retrySeconds !== null && `The page tries again in ${span(retrySeconds)}.`}
      </p>
      <button onClick={report.refresh}>Try now</button>
    </section>
  )
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1).replace(/\.$/, '')
}

/** Stands where the report will be: that it is fetched, and how long the queue is ahead of it. */
export function WaitingPanel({report}: {readonly report: ReportHookState}) {
  const {waiting} = report
  return (
    <section className="waiting" role="status">
      <div className="waiting-pulse" aria-hidden="true">
        <span />
        <span />
        <span />
      </div>
      <h2>{waiting === null ? 'Reading the report' : 'Fetching this report from the platform'}</h2>
      {waiting !== null && (
        <>
          <p>{waiting.openBreakers.length > 0 ? 'It waits until the platform answers again.' : positionText(waiting.position)}</p>
          <p className="muted">
            It is not stored yet. It appears here by itself.
            {waiting.requestId !== null && ` Request ${waiting.requestId}.`}
          </p>
        </>
      )}
    </section>
  )
}

function positionText(position: number | null): string {
  if (position === null) return 'It is in the queue, or on its way already.'
  if (position === 1) return 'It is the next one in the queue.'
  return `It is number ${position} in the queue.`
}
