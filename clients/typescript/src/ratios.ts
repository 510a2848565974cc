import type {Cell} from './document.js'

/**
 * Ratios in exact decimal arithmetic: the quotient of two numbers of a row, times a factor, rounded to six decimals, half
 * up, without zeros at the end. A number is text of at most 15 digits, of which at most six are decimals.
 */

/** The numbers of a column as whole numbers, NaN where there is none, and how many of their digits are decimals. */
export interface Numbers {
  readonly whole: Float64Array
  readonly decimals: Uint8Array
}

const MAX_DIGITS = 15
const DECIMALS = 6
const MILLION = 1_000_000
const LIMIT = 10 ** MAX_DIGITS
const POWERS = Array.from({length: 2 * DECIMALS + 1}, (_, exponent) => 10 ** exponent)
/** Three decimals, with and without zeros at the end. */
const PADDED = Array.from({length: 1000}, (_, number) => String(number).padStart(3, '0'))
const TRIMMED = PADDED.map((text) => text.replace(/0+$/, ''))

/** Returns the numbers of a column. */
export function readNumbers(cells: readonly Cell[]): Numbers {
  const whole = new Float64Array(cells.length).fill(Number.NaN)
  const decimals = new Uint8Array(cells.length)
  for (let row = 0; row < cells.length; row++) {
    const text = cells[row]
    if (typeof text === 'string' && text !== '' && text.length <= MAX_DIGITS + 1) readNumber(text, row, whole, decimals)
  }
  return {whole, decimals}
}

function readNumber(text: string, row: number, whole: Float64Array, decimals: Uint8Array): void {
  let number = 0
  let point = -1
  for (let place = 0; place < text.length; place++) {
    const digit = text.charCodeAt(place) - 48
    if (digit >= 0 && digit <= 9) number = number * 10 + digit
    else if (digit === -2 && point < 0 && place > 0) point = place
    else return
  }
  const fraction = point < 0 ? 0 : text.length - point - 1
  const digits = point < 0 ? text.length : text.length - 1
  if (digits > MAX_DIGITS || fraction > DECIMALS || (point >= 0 && fraction === 0)) return
  whole[row] = number
  decimals[row] = fraction
}

/** Returns the quotients of two columns, times a factor; null where a number is missing or the divisor is zero. */
export function divide(dividends: Numbers, divisors: Numbers, times: number): (string | null)[] {
  const quotients = new Array<string | null>(dividends.whole.length)
  for (let row = 0; row < quotients.length; row++) {
    const dividend = dividends.whole[row]!
    const divisor = divisors.whole[row]!
    if (!(divisor > 0) || Number.isNaN(dividend)) {
      quotients[row] = null
      continue
    }
    const factor = times * POWERS[DECIMALS + divisors.decimals[row]! - dividends.decimals[row]!]!
    const millionths = roundedQuotient(dividend, factor, divisor)
    quotients[row] = millionths < LIMIT ? writeMillionths(millionths) : null
  }
  return quotients
}

/** Returns `dividend * factor / divisor`, rounded half up; all three are whole. */
function roundedQuotient(dividend: number, factor: number, divisor: number): number {
  const product = dividend * factor
  if (product <= Number.MAX_SAFE_INTEGER) {
    const quotient = Math.floor(product / divisor)
    return 2 * (product - quotient * divisor) >= divisor ? quotient + 1 : quotient
  }
  const [exact, half] = [BigInt(dividend) * BigInt(factor), BigInt(divisor)]
  return Number((2n * exact + half) / (2n * half))
}

function writeMillionths(millionths: number): string {
  const whole = Math.floor(millionths / MILLION)
  const rest = millionths - whole * MILLION
  if (rest === 0) return String(whole)
  const high = Math.floor(rest / 1000)
  const low = rest - high * 1000
  return low === 0 ? `${whole}.${TRIMMED[high]}` : `${whole}.${PADDED[high]}${TRIMMED[low]}`
}
