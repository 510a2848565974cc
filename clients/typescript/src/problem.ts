/** Thrown when the API answers with problem details (RFC 9457), and for other answers that are no report. */
export class AdwarmProblem extends Error {
  override readonly name = 'AdwarmProblem'

  /**
   * @param status HTTP status code; 0 when there was no answer.
   * @param title short text, the same for every problem of its kind.
   * @param detail what happened and what to do, in a sentence.
   * @param retryAfterSeconds when to try again; null when that does not help.
   * @param fields further members of the problem document.
   */
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly retryAfterSeconds: number | null = null,
    readonly fields: Readonly<Record<string, unknown>> = {},
  ) {
    super(detail ? `${title}: ${detail}` : title)
  }

  /** Whether the same request may succeed later: no answer, too many requests, or a fault of the server. */
  get isTemporary(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500
  }
}

/** Returns the problem in an answer with an error status. An answer without a problem document gets its status text. */
export async function readProblem(response: Response): Promise<AdwarmProblem> {
  let fields: Record<string, unknown> = {}
  try {
    const body: unknown = await response.json()
    if (typeof body === 'object' && body !== null) fields = body as Record<string, unknown>
  } catch {
    fields = {} // a proxy's page, say
  }
  const {title, detail, type: _type, status: _status, ...rest} = fields
  return new AdwarmProblem(
    response.status,
    typeof title === 'string' ? title : response.statusText || `HTTP ${response.status}`,
    typeof detail === 'string' ? detail : '',
    readRetryAfter(response.headers),
    rest,
  )
}

/** Returns the seconds in a `Retry-After` header; null without one. A date counts from now. */
export function readRetryAfter(headers: Headers): number | null {
  const value = headers.get('retry-after')
  if (value === null) return null
  const seconds = Number(value)
  if (Number.isFinite(seconds)) return Math.max(0, seconds)
  const at = Date.parse(value)
  return Number.isNaN(at) ? null : Math.max(0, (at - Date.now()) / 1000)
}
