import type {ReportHookState} from '@adwarm/client/react'
import {useEffect, useState} from 'react'
import {bytes, duration, span} from './words'

const STATUS_TEXT = {
  hit: ['Hit', 'was stored and is fresh'],
  stale: ['Stale', 'is old; shown until a fresh copy is there'],
  miss: ['Miss', 'was fetched from the platform just now'],
  waiting: ['Waiting', 'is being fetched'],
  error: ['Error', 'could not be read'],
} as const

/** Returns the seconds since the data was fetched, and counts on. */
function useAge(fetchedAt: string | undefined): number | null {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 15_000)
    return () => clearInterval(timer)
  }, [])
  return fetchedAt === undefined ? null : Math.max(0, (Math.max(now, Date.now()) - Date.parse(fetchedAt)) / 1_000)
}

interface StripProps {
  readonly report: ReportHookState
  /** Whether a closed gate holds new data back. */
  readonly isHeld: boolean
}

/** Tells how the report on the screen came: hit, stale or miss, its age, and how little of it had to be sent. */
export function AnswerStrip({report, isHeld}: StripProps) {
  const {data, status, wireBytes, decodedBytes, coding, milliseconds, isNotModified} = report
  const age = useAge(data?.fetched_at)
  const [title, meaning] = STATUS_TEXT[status]
  const isMeasured = wireBytes !== null && decodedBytes !== null
  return (
    <section className="strip" aria-label="How this answer came" data-status={status}>
      <p className="strip-status" role="status">
        <span className={`mark mark-${status}`} aria-hidden="true" />
        <strong>{title}</strong>
        <span className="muted">{status === 'stale' && isHeld ? 'is old; new data is held back' : meaning}</span>
      </p>
      <dl className="strip-facts">
        <Fact name="Data from" value={age === null ? '–' : `${span(age)} ago`} />
        <Fact name="Answered in" value={milliseconds === null ? '–' : duration(milliseconds)} />
        <Fact name="Sent" value={isMeasured ? (isNotModified ? 'nothing new' : bytes(wireBytes)) : '–'} />
        <Fact name="Report" value={decodedBytes === null ? '–' : bytes(decodedBytes)} />
        <Fact name="Coding" value={isNotModified ? 'not modified' : (coding ?? '–')} />
      </dl>
      {isMeasured && <Saved wireBytes={wireBytes} decodedBytes={decodedBytes} />}
    </section>
  )
}

function Fact({name, value}: {readonly name: string; readonly value: string}) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  )
}

/** Draws the bytes that compression saves as a part of the report's bytes. */
function Saved({wireBytes, decodedBytes}: {readonly wireBytes: number; readonly decodedBytes: number}) {
  const share = decodedBytes > 0 ? wireBytes / decodedBytes : 0
  const saved = Math.floor((1 - share) * 1_000) / 10
  return (
    <div className="saved">
      <div className="saved-bar" aria-hidden="true">
        <div className="saved-part" style={{width: `${saved}%`}} />
      </div>
      <p>
        <strong>{saved} %</strong> saved
      </p>
    </div>
  )
}
