/** Bytes of one answer, where the browser tells them. */
export interface Transfer {
  /** Bytes of the body on the wire; 0 when the copy in the browser was still valid. */
  readonly wireBytes: number
  /** Bytes of the decoded document. */
  readonly decodedBytes: number
  /** What did not have to be sent. */
  readonly savedBytes: number
  /** Whether the server answered that the browser's copy is still valid (304). */
  readonly isNotModified: boolean
}

/** The browser counts this much for the headers of any answer that came over the network. */
const HEADER_BYTES = 300
const WAIT_MS = 250

/** Notes timings from the moment it is created until `read()`, so that it never depends on the size of the buffer. */
export class TransferProbe {
  private readonly entries: PerformanceResourceTiming[] = []
  private readonly observer: PerformanceObserver | null = null
  private notify: (() => void) | null = null

  constructor(private readonly url: string) {
    if (typeof PerformanceObserver === 'undefined') return
    const supported = PerformanceObserver.supportedEntryTypes as readonly string[] | undefined
    if (!supported?.includes('resource')) return
    this.observer = new PerformanceObserver((list) => this.add(list.getEntries()))
    this.observer.observe({type: 'resource'})
  }

  private add(entries: PerformanceEntryList): void {
    for (const entry of entries) {
      if (entry.name === this.url) this.entries.push(entry as PerformanceResourceTiming)
    }
    if (this.entries.length > 0) this.notify?.()
  }

  /** Returns the bytes of the last answer from the URL; null when the browser does not tell them. */
  async read(): Promise<Transfer | null> {
    if (this.observer === null) return null
    this.add(this.observer.takeRecords())
    if (this.entries.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, WAIT_MS)
        this.notify = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    this.close()
    const entry = this.entries.at(-1)
    return entry === undefined ? null : toTransfer(entry)
  }

  /** Stops listening. */
  close(): void {
    this.observer?.disconnect()
  }
}

/** Returns the bytes that a timing tells; null when it tells none, as for another origin without permission. */
export function toTransfer(
  entry: Pick<PerformanceResourceTiming, 'transferSize' | 'encodedBodySize' | 'decodedBodySize'>,
): Transfer | null {
  if (!entry.decodedBodySize) return null
  const isNotModified = entry.transferSize <= HEADER_BYTES
  const wireBytes = isNotModified ? 0 : Math.max(0, entry.transferSize - HEADER_BYTES)
  const savedBytes = Math.max(0, entry.decodedBodySize - wireBytes)
  return {wireBytes, decodedBytes: entry.decodedBodySize, savedBytes, isNotModified}
}
