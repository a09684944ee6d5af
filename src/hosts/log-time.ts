/** The time that a line of a log begins with, in the forms that servers write. Pure. */

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/**
 * Milliseconds since the epoch, or undefined where the line has no time. A time without a zone is taken as
 * `zoneMinutes` east of UTC (the host's); one without a year as the last such day before `now`.
 */
export function logTime(line: string, zoneMinutes: number, now: number): number | undefined {
  const start = line.slice(0, 160)
  // 2026-11-27 10:15:00,123 +0100 · [2026-11-27T10:15:00Z] · 2026/11/27 10:15:00
  const iso = /(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?: ?(Z|[+-]\d\d:?\d\d))?/.exec(start)
  if (iso) {
    const [, year, month, day, hour, minute, second, fraction, zone] = iso
    const utc = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second))
    return utc + Math.floor(Number(`0.${fraction ?? 0}`) * 1000) - zoneOf(zone, zoneMinutes) * 60_000
  }
  // 127.0.0.1 - - [27/Nov/2026:10:15:00 +0000]
  const common = /\[(\d\d)\/(\w{3})\/(\d{4}):(\d\d):(\d\d):(\d\d)(?: ([+-]\d{4}))?\]/.exec(start)
  if (common) {
    const [, day, month, year, hour, minute, second, zone] = common
    const utc = Date.UTC(
      Number(year),
      months.indexOf(month as string),
      Number(day),
      Number(hour),
      Number(minute),
      Number(second),
    )
    return utc - zoneOf(zone, zoneMinutes) * 60_000
  }
  // Nov 27 10:15:00
  const syslog = /^(\w{3}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)/.exec(start)
  if (syslog && months.includes(syslog[1] as string)) {
    const [, month, day, hour, minute, second] = syslog
    const inYear = (year: number) =>
      Date.UTC(year, months.indexOf(month as string), Number(day), Number(hour), Number(minute), Number(second)) -
      zoneMinutes * 60_000
    const year = new Date(now).getUTCFullYear()
    const thisYear = inYear(year)
    return thisYear > now + 86_400_000 ? inYear(year - 1) : thisYear
  }
  return undefined
}

function zoneOf(zone: string | undefined, fallback: number): number {
  if (zone === undefined) return fallback
  if (zone === 'Z') return 0
  const [, sign, hours, minutes] = /([+-])(\d\d):?(\d\d)/.exec(zone) ?? []
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes))
}
