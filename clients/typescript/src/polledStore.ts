import {AdwarmProblem} from './problem.js'
import {Store} from './store.js'

/** The last answer of something that is asked for again and again. */
export interface Polled<Answer> {
  /** Stays after an error; null until the first answer. */
  readonly data: Answer | null
  readonly error: AdwarmProblem | null
}

const MAX_BACKOFF = 6

/** Asks for something at an interval while somebody looks at it; less often while there are errors. */
export class PolledStore<Answer> extends Store<Polled<Answer>> {
  constructor(
    private readonly ask: (signal: AbortSignal) => Promise<Answer>,
    private readonly seconds: number,
  ) {
    super({data: null, error: null})
  }

  protected async run(signal: AbortSignal): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      let wait = this.seconds
      try {
        this.set({data: await this.ask(signal), error: null}, signal)
        failures = 0
      } catch (error) {
        const problem = error instanceof AdwarmProblem ? error : new AdwarmProblem(0, 'Unreadable answer', String(error))
        this.set({error: problem}, signal)
        failures = Math.min(failures + 1, MAX_BACKOFF)
        wait = Math.max(problem.retryAfterSeconds ?? 0, this.seconds * 2 ** failures)
        if (!problem.isTemporary) return // a token without the right to see it does not get it later
      }
      await this.pause(wait, signal)
    }
  }
}
