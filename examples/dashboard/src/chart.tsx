import {type KeyboardEvent, type PointerEvent, useEffect, useId, useRef, useState} from 'react'
import type {DayFigures, FigureName} from './report'
import {compact, type Formats, longDay, shortDay} from './words'

const HEIGHT = 300
const MARGIN = {top: 16, right: 16, bottom: 28, left: 52}
const FIGURES: readonly (readonly [FigureName, string])[] = [
  ['spend', 'Spend'],
  ['impressions', 'Impressions'],
  ['clicks', 'Clicks'],
  ['rate', 'Click rate'],
]

interface ChartProps {
  readonly days: readonly DayFigures[]
  readonly formats: Formats
}

/** A figure per day as a line; arrow keys and the pointer read its values. */
export function DayChart({days, formats}: ChartProps) {
  const [figure, setFigure] = useState<FigureName>('spend')
  const name = useId()
  return (
    <section className="panel" aria-labelledby={`${name}-title`}>
      <header className="panel-head">
        <h2 id={`${name}-title`}>Day by day</h2>
        <fieldset className="segments">
          <legend className="hidden-text">Figure</legend>
          {FIGURES.map(([key, label]) => (
            <label key={key}>
              <input type="radio" name={name} checked={figure === key} onChange={() => setFigure(key)} />
              <span>{label}</span>
            </label>
          ))}
        </fieldset>
      </header>
      <Line days={days} figure={figure} format={formatOf(figure, formats)} />
    </section>
  )
}

function formatOf(figure: FigureName, formats: Formats): (value: number | null) => string {
  if (figure === 'spend') return formats.money
  return figure === 'rate' ? formats.percent : formats.count
}

interface LineProps {
  readonly days: readonly DayFigures[]
  readonly figure: FigureName
  readonly format: (value: number | null) => string
}

function useWidth(): [React.RefObject<HTMLDivElement | null>, number] {
  const box = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(720)
  useEffect(() => {
    if (box.current === null || typeof ResizeObserver === 'undefined') return
    const observer = new ResizeObserver(([entry]) => entry && setWidth(Math.max(240, entry.contentRect.width)))
    observer.observe(box.current)
    return () => observer.disconnect()
  }, [])
  return [box, width]
}

function Line({days, figure, format}: LineProps) {
  const [box, width] = useWidth()
  const [active, setActive] = useState<number | null>(null)
  const values = days.map((day) => day[figure])
  const top = niceMaximum(Math.max(0, ...values.map((value) => value ?? 0)))
  const plotWidth = width - MARGIN.left - MARGIN.right
  const plotHeight = HEIGHT - MARGIN.top - MARGIN.bottom
  const x = (index: number) => MARGIN.left + (days.length > 1 ? (index / (days.length - 1)) * plotWidth : plotWidth / 2)
  const y = (value: number) => MARGIN.top + plotHeight - (top > 0 ? value / top : 0) * plotHeight
  const present = values.flatMap((value, index) => (value === null ? [] : [{index, value}]))
  const last = days.length - 1
  const shown = active !== null && active <= last ? active : null

  function follow(event: PointerEvent<SVGSVGElement>) {
    const offset = event.clientX - event.currentTarget.getBoundingClientRect().left - MARGIN.left
    setActive(Math.min(last, Math.max(0, Math.round((offset / plotWidth) * last))))
  }

  function step(event: KeyboardEvent) {
    const moves: Record<string, number> = {
      ArrowLeft: (shown ?? last + 1) - 1,
      ArrowRight: (shown ?? -1) + 1,
      Home: 0,
      End: last,
    }
    const target = moves[event.key]
    if (target === undefined) return
    event.preventDefault()
    setActive(Math.min(last, Math.max(0, target)))
  }

  const ticks = top > 0 ? [0, top / 2, top] : [0]
  const label = (value: number) => (figure === 'rate' ? `${compact(value * 100)} %` : compact(value))
  return (
    <div className="chart" ref={box}>
      <svg
        width={width}
        height={HEIGHT}
        role="img"
        tabIndex={0}
        aria-label={summarize(days, values, format)}
        onPointerMove={follow}
        onPointerLeave={() => setActive(null)}
        onKeyDown={step}
        onBlur={() => setActive(null)}
      >
        {ticks.map((tick) => (
          <g key={tick} className="grid">
            <line x1={MARGIN.left} x2={width - MARGIN.right} y1={y(tick)} y2={y(tick)} />
            <text x={MARGIN.left - 10} y={y(tick)} dy="0.32em" textAnchor="end">
              {label(tick)}
            </text>
          </g>
        ))}
        {dayTicks(days.length, plotWidth).map((index) => (
          <text key={index} className="axis" x={x(index)} y={HEIGHT - 8} textAnchor={anchorOf(index, last)}>
            {shortDay(days[index]?.day ?? '')}
          </text>
        ))}
        {pieces(values).map((piece) => (
          <g key={piece[0]}>
            <path className="area" d={`${pathOf(piece, values, x, y)}V${y(0)}H${x(piece[0] ?? 0)}Z`} />
            <path className="line" d={pathOf(piece, values, x, y)} />
          </g>
        ))}
        {present.length <= 14 &&
          present.map(({index, value}) => <circle key={index} className="dot" cx={x(index)} cy={y(value)} r={2.5} />)}
        {shown !== null && (
          <g className="cursor">
            <line x1={x(shown)} x2={x(shown)} y1={MARGIN.top} y2={y(0)} />
            {values[shown] !== null && <circle cx={x(shown)} cy={y(values[shown] ?? 0)} r={5} />}
          </g>
        )}
      </svg>
      <p className="chart-reading" aria-live="polite">
        {shown === null ? (
          <span className="muted">Point at a day, or use the arrow keys.</span>
        ) : (
          <>
            {longDay(days[shown]?.day ?? '')} <strong>{values[shown] === null ? 'no data' : format(values[shown] ?? null)}</strong>
          </>
        )}
      </p>
    </div>
  )
}

/** Returns the runs of days that have a value: a day without one is a gap in the line. */
function pieces(values: readonly (number | null)[]): number[][] {
  const result: number[][] = []
  values.forEach((value, index) => {
    if (value === null) return
    const piece = result.at(-1)
    if (piece?.at(-1) === index - 1) piece.push(index)
    else result.push([index])
  })
  return result
}

function pathOf(
  piece: readonly number[],
  values: readonly (number | null)[],
  x: (index: number) => number,
  y: (value: number) => number,
): string {
  return piece.map((index, at) => `${at ? 'L' : 'M'}${x(index).toFixed(1)},${y(values[index] ?? 0).toFixed(1)}`).join('')
}

/** Returns the smallest 1, 2, 2.5, 4, 5 or 8 times a power of ten that is at least `value`. */
export function niceMaximum(value: number): number {
  if (value <= 0) return 0
  const power = 10 ** Math.floor(Math.log10(value))
  const factor = [1, 2, 2.5, 4, 5, 8, 10].find((step) => step * power >= value * (1 - 1e-9)) ?? 10
  return factor * power
}

function dayTicks(count: number, width: number): number[] {
  if (count <= 1) return count === 1 ? [0] : []
  const room = Math.max(2, Math.floor(width / 90))
  const step = Math.ceil((count - 1) / (room - 1))
  const ticks = Array.from({length: Math.floor((count - 1) / step) + 1}, (_, at) => at * step)
  if (count - 1 - (ticks.at(-1) ?? 0) < step * 0.6) ticks.pop()
  return [...ticks, count - 1]
}

function anchorOf(index: number, last: number): 'start' | 'middle' | 'end' {
  if (last === 0) return 'middle'
  return index === last ? 'end' : index === 0 ? 'start' : 'middle'
}

function summarize(
  days: readonly DayFigures[],
  values: readonly (number | null)[],
  format: (value: number | null) => string,
): string {
  const present = values.filter((value) => value !== null)
  if (present.length === 0) return 'Line chart without data'
  const [low, high] = [Math.min(...present), Math.max(...present)]
  const first = days[0]?.day ?? ''
  const last = days.at(-1)?.day ?? ''
  return `Line chart, ${longDay(first)} to ${longDay(last)}: from ${format(low)} to ${format(high)} a day. Arrow keys read the days.`
}
