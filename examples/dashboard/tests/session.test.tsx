import {cleanup, fireEvent, render, screen} from '@testing-library/react'
import {afterEach, describe, expect, it, vi} from 'vitest'
import {App} from '../src/app'

const TOKEN = 'adwarm_test_token'

afterEach(cleanup)

function answer(respond: (url: URL, headers: Headers) => Response) {
  const fetch = vi.fn((input: string, init?: RequestInit) =>
    Promise.resolve(respond(new URL(input, 'http://localhost'), new Headers(init?.headers))),
  )
  vi.stubGlobal('fetch', fetch)
  return fetch
}

function signIn() {
  render(<App />)
  fireEvent.change(screen.getByLabelText('Access token'), {target: {value: ` ${TOKEN} `}})
  fireEvent.click(screen.getByRole('button', {name: 'Sign in'}))
}

const problem = (status: number) => Response.json({title: 'No', status, detail: 'send a valid token'}, {status})

describe('the login form', () => {
  it('asks for a token before it asks the API', () => {
    const fetch = answer(() => problem(500))
    render(<App />)
    fireEvent.click(screen.getByRole('button', {name: 'Sign in'}))
    expect(screen.getByRole('alert').textContent).toBe('Paste a token first.')
    expect(fetch).not.toHaveBeenCalled()
  })

  it('says that a token is not valid, and lets one try again', async () => {
    answer(() => problem(401))
    signIn()
    expect(await screen.findByText('This token is not valid. Paste the whole of it, or ask for a new one.')).toBeTruthy()
    expect(screen.getByRole('button', {name: 'Sign in'})).toHaveProperty('disabled', false)
  })

  it('keeps the token out of URL and storage, and forgets it on signing out', async () => {
    const fetch = answer((_, headers) => {
      expect(headers.get('authorization')).toBe(`Bearer ${TOKEN}`)
      return Response.json({accounts: [], reports: [], presets: [], breakers: [], pending: 0})
    })
    signIn()
    fireEvent.click(await screen.findByRole('button', {name: 'Sign out'}))
    expect(screen.getByLabelText('Access token')).toHaveProperty('value', '')
    expect(JSON.stringify([{...localStorage}, {...sessionStorage}, location.href, document.cookie])).not.toContain(TOKEN)
    expect(JSON.stringify(fetch.mock.calls.map(([url]) => url))).not.toContain(TOKEN)
  })

  it('offers free text to a token that may not list accounts', async () => {
    answer((url) => (url.pathname === '/v1/accounts' ? problem(403) : Response.json({breakers: [], pending: 0})))
    signIn()
    expect(await screen.findByText(/Type the id of an account/)).toBeTruthy()
  })
})
