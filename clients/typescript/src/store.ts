import type {AdwarmClient} from './client.js'

/**
 * Something that runs while somebody subscribes to it, in the form that React's `useSyncExternalStore` takes.
 *
 * It starts and stops in a microtask: when React subscribes twice in a row, as its strict mode does, nothing is sent
 * for the first time.
 */
export abstract class Store<State> {
  private readonly listeners = new Set<() => void>()
  private controller: AbortController | null = null
  private wake: (() => void) | null = null

  constructor(private state: State) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    queueMicrotask(() => this.startOrStop())
    return () => {
      this.listeners.delete(listener)
      queueMicrotask(() => this.startOrStop())
    }
  }

  readonly getSnapshot = (): State => this.state

  /** Whether somebody subscribes to it. */
  get isUsed(): boolean {
    return this.listeners.size > 0
  }

  /** Runs until the signal is aborted. */
  protected abstract run(signal: AbortSignal): Promise<void>

  /** Ends the pause at once; does nothing when there is none. */
  protected wakeUp(): void {
    this.wake?.()
  }

  /** Changes the state, unless the run is over. */
  protected set(change: Partial<State>, signal: AbortSignal): void {
    if (signal.aborted) return
    this.state = {...this.state, ...change}
    for (const listener of this.listeners) listener()
  }

  /**
   * Waits for some seconds, and longer while the page is hidden.
   *
   * @param seconds null for no end.
   * @returns whether it ended by `wakeUp()`.
   */
  protected pause(seconds: number | null, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return Promise.resolve(false)
    return new Promise((resolve) => {
      let isDue = false
      const finish = (woken: boolean) => {
        clearTimeout(timer)
        signal.removeEventListener('abort', stop)
        if (typeof document !== 'undefined') document.removeEventListener('visibilitychange', look)
        this.wake = null
        resolve(woken)
      }
      const look = () => {
        if (isDue && !isHidden()) finish(false)
      }
      const stop = () => finish(false)
      const timer =
        seconds === null
          ? undefined
          : setTimeout(() => {
              isDue = true
              look()
            }, seconds * 1000)
      this.wake = () => finish(true)
      signal.addEventListener('abort', stop, {once: true})
      if (typeof document !== 'undefined') document.addEventListener('visibilitychange', look)
    })
  }

  private startOrStop(): void {
    if (this.isUsed && this.controller === null) {
      const controller = new AbortController()
      this.controller = controller
      void this.run(controller.signal)
    } else if (!this.isUsed && this.controller !== null) {
      this.controller.abort()
      this.controller = null
    }
  }
}

function isHidden(): boolean {
  return typeof document !== 'undefined' && document.visibilityState === 'hidden'
}

/** Unused ones that are kept, so that going back shows the last data at once. */
const MAX_UNUSED = 8
const shared = new WeakMap<AdwarmClient, Map<string, Store<unknown>>>()

/** Returns the client's store of that name, so that components that show the same thing ask for it once. */
export function sharedStore<S extends Store<unknown>>(client: AdwarmClient, name: string, make: () => S): S {
  const stores = shared.get(client) ?? new Map<string, Store<unknown>>()
  shared.set(client, stores)
  const existing = stores.get(name)
  if (existing) return existing as S
  const unused = [...stores].filter(([, store]) => !store.isUsed)
  for (const [key] of unused.slice(0, Math.max(0, unused.length - MAX_UNUSED + 1))) stores.delete(key)
  const store = make()
  stores.set(name, store)
  return store
}
