import type {AccountPage} from '@adwarm/client'
import {type FormEvent, useId, useState} from 'react'
import {rangeName} from './words'

export interface Choice {
  readonly account: string
  readonly range: string
  readonly report: string
}

const PRESETS = ['yesterday', 'last_7d', 'last_14d', 'last_28d', 'last_30d', 'last_90d', 'this_month', 'last_month']
const OWN_RANGE = 'own'

interface ControlsProps {
  readonly accounts: AccountPage
  readonly recent: readonly string[]
  readonly choice: Choice
  readonly onChoose: (choice: Choice) => void
}

/** Account, range and report. */
export function Controls({accounts, recent, choice, onChoose}: ControlsProps) {
  const id = useId()
  const [account, setAccount] = useState(choice.account)
  const [isOwn, setIsOwn] = useState(false)
  const presets = PRESETS.filter((preset) => accounts.presets.length === 0 || accounts.presets.includes(preset))
  const listed = new Set(accounts.accounts.map((item) => item.id))

  function submitAccount(event: FormEvent) {
    event.preventDefault()
    const value = account.trim()
    const full = !listed.has(value) && listed.has(`act_${value}`) ? `act_${value}` : value
    setAccount(full)
    if (full !== '' && full !== choice.account) onChoose({...choice, account: full})
  }

  return (
    <div className="controls">
      <form onSubmit={submitAccount}>
        <label htmlFor={`${id}-account`}>Account</label>
        <input
          id={`${id}-account`}
          list={`${id}-accounts`}
          value={account}
          onChange={(event) => {
            setAccount(event.target.value)
            if (listed.has(event.target.value)) onChoose({...choice, account: event.target.value})
          }}
          onBlur={submitAccount}
          onFocus={(event) => event.target.select()}
          placeholder="act_…"
          spellCheck={false}
          autoComplete="off"
        />
        <datalist id={`${id}-accounts`}>
          {accounts.accounts.map((item) => (
            <option key={item.id} value={item.id}>
              {item.name ?? ''}
            </option>
          ))}
          {recent
            .filter((name) => !listed.has(name))
            .map((name) => (
              <option key={name} value={name} />
            ))}
        </datalist>
      </form>
      <div>
        <label htmlFor={`${id}-range`}>Range</label>
        <select
          id={`${id}-range`}
          value={isOwn ? OWN_RANGE : choice.range}
          onChange={({target: {value}}) => {
            setIsOwn(value === OWN_RANGE)
            if (value !== OWN_RANGE) onChoose({...choice, range: value})
          }}
        >
          {presets.map((preset) => (
            <option key={preset} value={preset}>
              {rangeName(preset)}
            </option>
          ))}
          <option value={OWN_RANGE}>From … to …</option>
        </select>
      </div>
      {isOwn && <OwnRange onChoose={(range) => onChoose({...choice, range})} />}
      {accounts.reports.length > 1 && (
        <div>
          <label htmlFor={`${id}-report`}>Report</label>
          <select
            id={`${id}-report`}
            value={choice.report}
            onChange={(event) => onChoose({...choice, report: event.target.value})}
          >
            {accounts.reports.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </div>
      )}
    </div>
  )
}

function OwnRange({onChoose}: {readonly onChoose: (range: string) => void}) {
  const id = useId()
  const [since, setSince] = useState('')
  const [until, setUntil] = useState('')

  function choose(first: string, last: string) {
    setSince(first)
    setUntil(last)
    if (first !== '' && last !== '' && first <= last) onChoose(`${first}..${last}`)
  }

  return (
    <>
      <div>
        <label htmlFor={`${id}-since`}>From</label>
        <input
          id={`${id}-since`}
          type="date"
          value={since}
          max={until || undefined}
          onChange={(event) => choose(event.target.value, until)}
        />
      </div>
      <div>
        <label htmlFor={`${id}-until`}>To</label>
        <input
          id={`${id}-until`}
          type="date"
          value={until}
          min={since || undefined}
          onChange={(event) => choose(since, event.target.value)}
        />
      </div>
    </>
  )
}
