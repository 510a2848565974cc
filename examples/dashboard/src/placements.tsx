import type {GroupSums} from '@adwarm/client'
import {useId} from 'react'
import type {Formats} from './words'

/** The breakdowns of the chart. */
export const PLACEMENT = ['publisher_platform', 'platform_position'] as const
const MAX_PLACEMENTS = 12

interface ChartProps {
  readonly groups: readonly GroupSums[]
  readonly formats: Formats
}

/** Spend and click rate by placement, as bars; a report without placements has no chart. */
export function PlacementChart({groups, formats}: ChartProps) {
  const id = useId()
  if (groups.length === 0) return null
  const shown = groups.slice(0, MAX_PLACEMENTS)
  const most = (name: 'spend' | 'clickRate') => Math.max(0, ...shown.map((group) => group[name] ?? 0))
  const [spend, rate] = [most('spend'), most('clickRate')]
  return (
    <section className="panel placements-panel" aria-labelledby={id}>
      <header className="panel-head">
        <h2 id={id}>By placement</h2>
        {groups.length > shown.length && (
          <span className="muted">
            {shown.length} of {groups.length}
          </span>
        )}
      </header>
      <table className="placements">
        <thead>
          <tr>
            <th scope="col">Placement</th>
            <th scope="col">Spend</th>
            <th scope="col">Click rate</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((group) => (
            <tr key={group.group.join(' ')}>
              <th scope="row">{placementName(group.group)}</th>
              <Bar value={group.spend} most={spend} text={formats.money(group.spend)} />
              <Bar value={group.clickRate} most={rate} text={formats.percent(group.clickRate)} />
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

function Bar({value, most, text}: {readonly value: number | null; readonly most: number; readonly text: string}) {
  const width = value !== null && most > 0 ? (value / most) * 100 : 0
  return (
    <td>
      <span className="placement-bar" style={{width: `${width}%`}} aria-hidden="true" />
      <span>{text}</span>
    </td>
  )
}

/** Returns a placement in words, such as `Instagram, stories`; what the platform does not name is `not named`. */
export function placementName(group: readonly string[]): string {
  const [platform = '', position = ''] = group.map((name) => name.replaceAll('_', ' ').trim())
  const own = position.toLowerCase().startsWith(platform.toLowerCase()) ? position.slice(platform.length).trim() : position
  const name = [platform, own].filter((part) => part !== '' && part !== 'unknown').join(', ')
  return name === '' ? 'not named' : name.charAt(0).toUpperCase() + name.slice(1)
}
