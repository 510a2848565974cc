import {gatesOf} from '@adwarm/client'
import {
  AdwarmProvider,
  useAdwarmReport,
  useGates,
  useGroups,
  useMemoryPressure,
  useQueueStatus,
} from '@adwarm/client/react'
import {useCallback, useEffect, useMemo, useState} from 'react'
import {AdTable} from './adTable'
import {AnswerStrip} from './answerStrip'
import {DayChart} from './chart'
import {type Choice, Controls} from './controls'
import {Fatigue, useScores} from './fatigue'
import {ErrorBanner, GateBanner, WaitingPanel} from './notices'
import {PLACEMENT, PlacementChart} from './placements'
import {type Figures, sumAll, sumByAd, sumByDay} from './report'
import {Login, type Session} from './session'
import {type Formats, longDay, makeFormats} from './words'

const REFRESH_SECONDS = 300
const STATUS_SECONDS = 5
const MAX_RECENT = 8

/** The page: a login form until there is a token, then the reports that it may read. */
export function App() {
  const [session, setSession] = useState<Session | null>(null)
  const [notice, setNotice] = useState<string | null>(null)
  const signOut = useCallback((text: string | null) => {
    setSession(null)
    setNotice(text)
  }, [])
  if (session === null) return <Login onOpen={setSession} notice={notice} />
  return (
    <AdwarmProvider value={session.client}>
      <Dashboard session={session} onSignOut={signOut} />
    </AdwarmProvider>
  )
}

interface DashboardProps {
  readonly session: Session
  readonly onSignOut: (notice: string | null) => void
}

function Dashboard({session, onSignOut}: DashboardProps) {
  const {accounts} = session
  const [choice, setChoice] = useState<Choice>({
    account: accounts.accounts[0]?.id ?? '',
    range: 'last_7d',
    report: accounts.reports[0] ?? 'default',
  })
  const [recent, setRecent] = useState<readonly string[]>([])

  function choose(next: Choice) {
    setChoice(next)
    if (next.account !== '') {
      setRecent((before) => [next.account, ...before.filter((name) => name !== next.account)].slice(0, MAX_RECENT))
    }
  }

  const account = accounts.accounts.find(({id}) => id === choice.account)
  return (
    <div className="page">
      <a className="skip" href="#report">
        Skip to the report
      </a>
      <header className="top">
        <p className="wordmark">adwarm</p>
        <SystemStatus />
        <button className="quiet" onClick={() => onSignOut(null)}>
          Sign out
        </button>
      </header>
      <main id="report" tabIndex={-1}>
        <div className="heading">
          <div>
            <h1>{account?.name ?? (choice.account || 'Choose an account')}</h1>
            {account?.name && <p className="muted">{account.id}</p>}
          </div>
          <Controls accounts={accounts} recent={recent} choice={choice} onChoose={choose} />
        </div>
        {choice.account === '' ? (
          <p className="empty">Type the id of an account that your token may read, such as act_1234.</p>
        ) : (
          <Report {...choice} session={session} onSignOut={onSignOut} />
        )}
      </main>
    </div>
  )
}

/** The queue, and whether the platform is called, in a few words; what is known from before an error is not shown. */
function SystemStatus() {
  const queue = useQueueStatus(STATUS_SECONDS)
  const gates = useGates(STATUS_SECONDS)
  const isHeld = gatesOf(gates.data ?? [], null).length > 0
  if ([gates.error, queue.error].some((error) => error !== null && (error.status === 0 || error.status >= 500))) {
    return (
      <p className="system">
        <span className="system-held">
          <span className="system-dot" aria-hidden="true" />
          The read API does not answer
        </span>
      </p>
    )
  }
  return (
    <p className="system">
      {queue.data !== null && (
        <span>{queue.data.pending === 0 ? 'Queue empty' : `${queue.data.pending} in the queue`}</span>
      )}
      {gates.data !== null && (
        <span className={isHeld ? 'system-held' : 'system-fine'}>
          <span className="system-dot" aria-hidden="true" />
          {isHeld ? 'Calls to the ad platform are paused' : 'Calls to the ad platform are on'}
        </span>
      )}
    </p>
  )
}

interface ReportProps extends Choice, DashboardProps {}

function Report({account, range, report: name, session, onSignOut}: ReportProps) {
  const report = useAdwarmReport(account, range, {
    priority: 'high',
    refreshSeconds: REFRESH_SECONDS,
    ...(name === 'default' ? {} : {report: name}),
  })
  const {data, error} = report
  const gates = useGates(STATUS_SECONDS)
  const scores = useScores(session.client, account, data?.fetched_at ?? null)
  const pressure = useMemoryPressure()
  const formats = useMemo(() => makeFormats(data?.currency ?? null), [data])
  const days = useMemo(() => (data === null ? [] : sumByDay(data)), [data])
  const ads = useMemo(() => (data === null ? [] : sumByAd(data)), [data])
  const placements = useGroups(report, PLACEMENT)
  const total = useMemo(() => (data === null ? null : sumAll(data)), [data])
  const held = gatesOf(gates.data ?? [], account)
  const isRefused = error?.status === 401
  useEffect(() => {
    if (isRefused) onSignOut('You were signed out: the token is not valid any more.')
  }, [isRefused, onSignOut])

  return (
    <>
      <GateBanner gates={held} />
      <ErrorBanner report={report} />
      {pressure.isHigh && (
        <section className="banner" role="status">
          <p>This tab has used most of its memory. Choose a shorter range, or reload the page.</p>
        </section>
      )}
      {data === null ? (
        error === null && <WaitingPanel report={report} />
      ) : (
        <>
          <AnswerStrip report={report} isHeld={held.length > 0} />
          <div className="range-line">
            <p>
              {longDay(data.since)}
              {data.since !== data.until && ` to ${longDay(data.until)}`} <span className="muted">{data.time_zone}</span>
              {report.fallback?.otherWindow != null && (
                <span className="missing">Not the days of this range: its report is not there yet</span>
              )}
              {data.missing !== null && <span className="missing">Incomplete: {data.missing}</span>}
            </p>
            <button onClick={report.refresh} disabled={report.isFetching}>
              {report.isFetching ? 'Checking …' : 'Refresh'}
            </button>
          </div>
          {total !== null && <Totals total={total} formats={formats} />}
          <div className="columns">
            <DayChart days={days} formats={formats} />
            <Fatigue scores={scores.scores} problem={scores.problem} />
          </div>
          <PlacementChart groups={placements} formats={formats} />
          {data.query.level === 'ad' && (
            <AdTable ads={ads} scores={scores.scores?.scores ?? []} formats={formats} />
          )}
        </>
      )}
    </>
  )
}

function Totals({total, formats}: {readonly total: Figures; readonly formats: Formats}) {
  const figures = [
    ['Spend', formats.money(total.spend)],
    ['Impressions', formats.count(total.impressions)],
    ['Clicks', formats.count(total.clicks)],
    ['Click rate', formats.percent(total.rate)],
  ] as const
  return (
    <dl className="totals">
      {figures.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}
