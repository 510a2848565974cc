import type {Gate} from '@adwarm/client'
import type {ReportHookState, Waiting} from '@adwarm/client/react'
import {errorTitle, gateText, sentence, span} from './words'

/** Says that the platform is not called, for the gates that concern the account. */
export function GateBanner({gates}: {readonly gates: readonly Gate[]}) {
  if (gates.length === 0) return null
  const isTesting = gates.every(({state}) => state === 'testing')
  return (
    <section className="banner banner-gate" role="alert">
      <h2>{isTesting ? 'The ad platform is being tested again' : 'The ad platform is not called'}</h2>
      {gates.map((gate) => (
        <p key={`${gate.rule} ${gate.scope}`}>{gateText(gate)}</p>
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
        {sentence(error.detail)}{' '}
        {data !== null && `Below is the last report that could be read, of ${data.since} to ${data.until}. `}
        {retrySeconds !== null && `The page tries again in ${span(retrySeconds)}.`}
      </p>
      <button onClick={report.refresh}>Try again</button>
    </section>
  )
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
      <h2>{waiting === null ? 'Reading the report' : 'This report is not stored yet'}</h2>
      {waiting !== null && (
        <>
          <p>{waitingText(waiting)} It appears here by itself.</p>
          {waiting.lastError !== null && <p>The last attempt failed: {waiting.lastError}</p>}
          {waiting.requestId !== null && <p className="muted">Request {waiting.requestId}</p>}
        </>
      )}
    </section>
  )
}

/** Returns what a missing report waits for. */
function waitingText({isRunning, position, gates}: Waiting): string {
  if (gates.length > 0) return 'It is fetched once the ad platform is called again.'
  if (isRunning) return 'It is being fetched from the ad platform.'
  if (position === null) return 'It is requested.'
  return position === 1 ? 'It is the next one in the queue.' : `It is number ${position} in the queue.`
}
