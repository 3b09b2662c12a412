/** Short forms for people: times, counts, bytes and metrics; texts with a large first letter. */

/** Seconds as `0.4s`, `12s`, `3m05s`, `2h07m` or `3d04h`. */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '–'
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole}s`
  if (whole < 3600) return inTwo(whole, 60, 'm', 1, 's')
  return whole < 86400 ? inTwo(whole, 3600, 'h', 60, 'm') : inTwo(whole, 86400, 'd', 3600, 'h')
}

function inTwo(seconds: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((seconds % large) / small)
  return `${Math.floor(seconds / large)}${largeUnit}${String(rest).padStart(2, '0')}${smallUnit}`
}

/** A count in three digits: `950`, `4.1k`, `32k`, `1.2M`. */
export function formatCount(count: number): string {
  return scaled(count, 1000, ['', 'k', 'M', 'G', 'T'])
}

/** Bytes in units of 1000: `712 MB`, `2.3 GB`. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 1000, [' B', ' kB', ' MB', ' GB', ' TB'])
}

/** A metric in four significant digits, in exponent form where it is very small or large. */
export function formatMetric(value: number): string {
  if (Number.isNaN(value)) return 'not a number'
  if (!Number.isFinite(value)) return value < 0 ? '−∞' : '∞'
  const size = Math.abs(value)
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(1)
  if (Number.isInteger(value)) return String(value)
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3)
}

function scaled(value: number, base: number, units: readonly string[]): string {
  if (!Number.isFinite(value)) return '–'
  const exponent = Math.min(units.length - 1, value < 1 ? 0 : Math.floor(Math.log(value) / Math.log(base) + 1e-9))
  const size = value / base ** exponent
  return `${exponent > 0 && size < 9.95 ? size.toFixed(1) : size.toFixed(0)}${units[exponent]}`
}

/** The text with its first letter large. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
