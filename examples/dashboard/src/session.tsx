import {type AccountPage, AdwarmClient, AdwarmProblem} from '@adwarm/client'
import {type FormEvent, useId, useRef, useState} from 'react'
import {errorTitle, sentence} from './words'

export interface Session {
  readonly client: AdwarmClient
  /** What the token may read. */
  readonly accounts: AccountPage
}

const NO_ACCOUNTS: AccountPage = {accounts: [], reports: [], presets: []}

/** Asks the API whether the token is valid, and what it may read. The token stays in the client's memory. */
export async function openSession(token: string, baseUrl?: string): Promise<Session> {
  const client = new AdwarmClient(baseUrl === undefined ? {token} : {token, baseUrl})
  try {
    return {client, accounts: await client.accounts()}
  } catch (error) {
    // A token that may not list accounts can still read one that its holder names.
    if (error instanceof AdwarmProblem && [403, 404].includes(error.status)) return {client, accounts: NO_ACCOUNTS}
    throw error
  }
}

function loginProblem(problem: AdwarmProblem): string {
  if (problem.status === 401) return 'This token is not valid. Paste the whole of it, or ask for a new one.'
  return `${errorTitle(problem)}. ${sentence(problem.detail)}`
}

interface LoginProps {
  readonly onOpen: (session: Session) => void
  readonly notice: string | null
}

/** Asks for a token. It is kept in memory only: no storage, no URL, and the field forgets it once it was sent. */
export function Login({onOpen, notice}: LoginProps) {
  const id = useId()
  const field = useRef<HTMLInputElement>(null)
  const [problem, setProblem] = useState<string | null>(null)
  const [isBusy, setIsBusy] = useState(false)

  async function submit(event: FormEvent) {
    event.preventDefault()
    const token = field.current?.value.trim() ?? ''
    if (token === '') {
      setProblem('Paste a token first.')
      field.current?.focus()
      return
    }
    setIsBusy(true)
    setProblem(null)
    try {
      const session = await openSession(token)
      if (field.current) field.current.value = ''
      onOpen(session)
    } catch (error) {
      setProblem(error instanceof AdwarmProblem ? loginProblem(error) : 'The answer could not be read.')
      setIsBusy(false)
      field.current?.focus()
    }
  }

  return (
    <main className="login">
      <form onSubmit={(event) => void submit(event)} noValidate>
        <p className="wordmark">adwarm</p>
        <h1>Ad reports, ready when you open them</h1>
        {notice && <p className="login-notice">{notice}</p>}
        <label htmlFor={id}>Access token</label>
        <div className="login-row">
          <input
            id={id}
            ref={field}
            type="password"
            autoComplete="off"
            spellCheck={false}
            autoFocus
            aria-invalid={problem !== null}
            aria-describedby={`${id}-help ${id}-problem`}
          />
          <button className="primary" disabled={isBusy}>
            {isBusy ? 'Signing in …' : 'Sign in'}
          </button>
        </div>
        <p id={`${id}-problem`} className="login-problem" role="alert">
          {problem}
        </p>
        <p id={`${id}-help`} className="muted">
          <code>adwarm token create</code> makes one. It stays in the memory of this tab: reloading the page signs you
          out.
        </p>
      </form>
    </main>
  )
}
