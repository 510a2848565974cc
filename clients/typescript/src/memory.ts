/** How full the page's memory is, where the browser tells. */
export interface MemoryPressure {
  /** Whether the browser tells at all. */
  readonly isKnown: boolean
  readonly isHigh: boolean
  /** Used part of the limit, 0 to 1; null when it is not known. */
  readonly usedShare: number | null
}

interface HeapSizes {
  readonly usedJSHeapSize: number
  readonly jsHeapSizeLimit: number
}

const UNKNOWN: MemoryPressure = {isKnown: false, isHigh: false, usedShare: null}

/**
 * Returns how full the page's memory is.
 *
 * @param threshold part of the limit from which it counts as high.
 */
export function readMemoryPressure(threshold = 0.8): MemoryPressure {
  const {memory} = performance as Performance & {memory?: HeapSizes} // Chromium only
  if (!memory?.jsHeapSizeLimit) return UNKNOWN
  const usedShare = memory.usedJSHeapSize / memory.jsHeapSizeLimit
  return {isKnown: true, isHigh: usedShare > threshold, usedShare}
}
