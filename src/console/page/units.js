// Values of series in readable units, as the server writes them.

const digits = new Intl.NumberFormat('en', { maximumSignificantDigits: 4 });
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
/** Number with at most four digits that matter; whole ones are exact. @param {number} value */
const written = (value) => (Number.isInteger(value) ? whole : digits).format(value);
/** Units by size, the largest first: least value, name, size. @type {Record<string, [number, string, number][]>} */
const STEPS = {
  seconds: [[86_400 * 2, 'd', 86_400], [7200, 'h', 3600], [120, 'min', 60], [1, 's', 1], [1e-3, 'ms', 1e-3], [0, 'µs', 1e-6]],
  bytes: [[1e12, 'TB', 1e12], [1e9, 'GB', 1e9], [1e6, 'MB', 1e6], [1e3, 'kB', 1e3], [0, 'B', 1]],
};
/** @type {Record<string, [string, string]>} */
const SIGNS = { none: ['', ''], percent: ['', ' %'], per_second: ['', '/s'], usd: ['$', ''], eur: ['€', ''], gbp: ['£', ''], lufs: ['', ' LUFS'] };

/** Unit in which a value of that size is readable: text before, text behind, size. @param {number} size @param {string} unit @returns {[string, string, number]} */
function readable(size, unit) {
  const per = unit === 'bytes_per_second' ? '/s' : '';
  const steps = STEPS[per ? 'bytes' : unit];
  if (!steps) return [...SIGNS[unit] ?? ['', ''], 1];
  const zero = steps.find(([, , factor]) => factor === 1) ?? steps[0];
  const [, name, factor] = size === 0 ? zero : steps.find(([least]) => size >= least) ?? zero;
  return ['', ` ${name}${per}`, factor];
}

/** Value in a readable unit. @param {number} value @param {string} unit */
export function shown(value, unit) {
  const [before, after, factor] = readable(Math.abs(value), unit);
  return `${before}${written(value / factor)}${after}`;
}

/** Scale of an axis up to a size: all its values are in one unit. @param {number} size @param {string} unit */
export function scaleOf(size, unit) {
  const [before, after, factor] = readable(size, unit);
  return {
    factor,
    /** @param {number} value @param {number} step between two values of the axis */
    label(value, step) {
      const decimals = Math.max(0, Math.min(9, -Math.floor(Math.log10(step / factor) + 1e-9)));
      const text = (value / factor).toLocaleString('en', { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
      return `${before}${text === '-0' ? '0' : text}${after}`;
    },
  };
}
