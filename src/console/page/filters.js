// Filters of the incident list: facets with counts as chips, and its order,
// grouping and pictures.

import { serverNow } from './api.js';
import { SEVERITIES, at, el, refill } from './dom.js';
import { number } from './format.js';
import { drawHeads, usualOrder } from './heads.js';
import { scopeParams, scopeRange, scopeStream } from './scope.js';
import { standing } from './settled.js';

/** @import {Facets, Incident} from './types' */

/** Facets in the order of their chips: name of the parameter, label, and whether several values may be chosen. */
const FACETS = /** @type {const} */ ([
  { name: 'severities', of: 'severity', label: 'Severity', several: true },
  { name: 'status', of: 'status', label: 'Status', several: true },
  { name: 'agent', of: 'agent', label: 'Analyst', several: false },
  { name: 'owner', of: 'owner', label: 'Owner', several: false },
]);
/** Values that are always offered. @type {Record<string, string[]>} */
const ALWAYS = { severities: [...SEVERITIES].reverse(), status: ['new', 'acknowledged', 'closed'], agent: [], owner: [] };
/** Chips of a facet without "more". */
const SHOWN = 6;
/** Filters unless chosen otherwise. @type {Record<string, string>} */
const USUAL = { severities: '', status: 'new,acknowledged', agent: '', owner: '', snoozed: 'false', sort: 'severity', order: '', group: '', pictures: '' };
/** Value of the owner filter for those without one: an empty one is no filter. */
const NOBODY = '-';

/** True while an incident is snoozed. @param {Incident} incident */
export const isSnoozed = ({ snoozed_until }) => Date.parse(snoozed_until ?? '') > serverNow();

export class Filters {
  #form = /** @type {HTMLFormElement} */ (at('filters'));
  #values = { ...USUAL };
  /** @type {Facets | null} */ #facets = null;
  /** Facets whose values are all shown. @type {Set<string>} */ #whole = new Set();
  #changed;

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
    this.#form.addEventListener('change', (event) => this.#choose(/** @type {HTMLInputElement | HTMLSelectElement} */ (event.target)));
    this.#form.addEventListener('submit', (event) => event.preventDefault());
    at('refine').addEventListener('click', () => this.#unfold(!this.#form.classList.contains('unfolded')));
    this.#draw();
  }

  /** @param {boolean} now */
  #unfold(now) {
    this.#form.classList.toggle('unfolded', now);
    at('refine').setAttribute('aria-expanded', String(now));
  }

  /** Sets the filters from the URL; true if the list changes. @param {URLSearchParams} query */
  set(query) {
    const before = JSON.stringify(this.#values);
    for (const [name, usual] of Object.entries(USUAL)) this.#values[name] = query.get(name) ?? usual;
    // Links of an earlier version have a minimum.
    const least = SEVERITIES.findIndex((one) => one === query.get('severity'));
    if (least > 0) this.#values.severities = SEVERITIES.slice(least).reverse().join();
    this.#draw();
    return JSON.stringify(this.#values) !== before;
  }

  /** Filters that differ from the usual ones, for the URL. @returns {Record<string, string>} */
  get params() {
    return Object.fromEntries(Object.entries(this.#values).filter(([name, value]) => value !== USUAL[name]));
  }

  /** Those of the API, without the order. */
  get query() {
    const query = new URLSearchParams();
    const { sort, order, group, pictures, owner, ...rest } = this.#values;
    for (const [name, value] of Object.entries(rest)) if (value) query.set(name, value);
    if (owner) query.set('owner', owner === NOBODY ? '' : owner);
    if (scopeStream()) query.set('stream', scopeStream());
    const range = scopeRange();
    if (range) query.set('from', range.from.toISOString());
    if (range && !range.open) query.set('to', range.to.toISOString());
    return query;
  }

  /** The severity is as settled by the panel. */
  get sort() { return this.#values.sort === 'severity' ? 'settled_severity' : this.#values.sort; }
  /** Direction of the order. */
  get order() { return this.#values.order === 'asc' || this.#values.order === 'desc' ? this.#values.order : usualOrder(this.#values.sort); }
  /** `stream`, `subject` or empty. */
  get group() { return this.#values.group; }
  get pictures() { return this.#values.pictures === '1'; }

  /** True if an incident matches. @param {Incident} incident */
  matches(incident) {
    const { status, severities, agent, owner, snoozed } = this.#values;
    const range = scopeRange();
    const began = Date.parse(incident.first_seen);
    return (!status || status.split(',').includes(incident.status))
      && (!severities || severities.split(',').includes(standing(incident)))
      && (!agent || incident.agents.includes(agent))
      && (!scopeStream() || incident.stream === scopeStream())
      && (!owner || (incident.owner ?? NOBODY) === owner)
      && (!snoozed || isSnoozed(incident) === (snoozed === 'true'))
      && (!range || (began >= Number(range.from) && (range.open || began < Number(range.to))));
  }

  /** @param {Facets} facets */
  count(facets) {
    this.#facets = facets;
    this.#draw();
  }

  /** Names counted of a facet. @param {'agent' | 'owner' | 'stream'} of */
  names(of) {
    return (this.#facets?.[of] ?? []).map(({ name }) => name).filter(Boolean);
  }

  /** @param {HTMLInputElement | HTMLSelectElement} field */
  #choose(field) {
    const facet = FACETS.find(({ name }) => name === field.name);
    if (field instanceof HTMLSelectElement) {
      this.#values[field.name] = field.value;
      if (field.name === 'sort') this.#values.order = '';
    }
    else if (field.name === 'pictures') this.#values.pictures = field.checked ? '1' : '';
    else if (facet?.several) {
      const chosen = new Set(this.#values[field.name].split(',').filter(Boolean));
      if (field.checked) chosen.add(field.value);
      else chosen.delete(field.value);
      this.#values[field.name] = ALWAYS[field.name].filter((one) => chosen.has(one)).join();
    } else this.#values[field.name] = field.checked ? field.value : '';
    this.#draw();
    this.#changed();
  }

  #draw() {
    for (const name of ['snoozed', 'sort', 'group']) {
      const select = /** @type {HTMLSelectElement} */ (this.#form.elements.namedItem(name));
      select.value = [...select.options].some(({ value }) => value === this.#values[name]) ? this.#values[name] : USUAL[name];
      this.#values[name] = select.value;
    }
    drawHeads(this.#values.sort, this.order, (sort, order) => {
      this.#values.sort = sort;
      this.#values.order = order === usualOrder(sort) ? '' : order;
      this.#draw();
      this.#changed();
    });
    /** @type {HTMLInputElement} */ (this.#form.elements.namedItem('pictures')).checked = this.pictures;
    refill(at('facets'), ...FACETS.map((facet) => this.#facet(facet)));
    const chosen = FACETS.filter(({ name }) => this.#values[name] !== USUAL[name]).map(({ name }) => this.#values[name].replaceAll(',', ', ').replace(NOBODY, 'nobody') || 'any status');
    at('refine').textContent = chosen.length > 0 ? `Filters: ${chosen.join('; ')}` : 'Filters';
  }

  /** @param {typeof FACETS[number]} facet */
  #facet({ name, of, label }) {
    const counts = new Map((this.#facets?.[of] ?? []).map((one) => [one.name || NOBODY, one.count]));
    const chosen = this.#values[name].split(',').filter(Boolean);
    const rest = [...counts.keys(), ...chosen].filter((one) => !ALWAYS[name].includes(one));
    const all = [...ALWAYS[name], ...new Set(rest)];
    const whole = this.#whole.has(name);
    const shown = whole ? all : all.filter((one, nth) => nth < SHOWN || chosen.includes(one));
    const made = el(
      'fieldset',
      { class: 'facet', hidden: all.length === 0 },
      el('legend', {}, label),
      ...shown.map((value) => this.#chip(name, value, counts.get(value) ?? 0, chosen.includes(value))),
      shown.length < all.length && el('button', {
        type: 'button',
        class: 'rest',
        onclick: () => {
          this.#whole.add(name);
          this.#draw();
        },
      }, `${number(all.length - shown.length)} more`),
    );
    return made;
  }

  /** @param {string} name @param {string} value @param {number} count @param {boolean} checked */
  #chip(name, value, count, checked) {
    return el(
      'label',
      { class: 'chip', ...(name === 'severities' ? { 'data-severity': value } : {}) },
      el('input', { type: 'checkbox', name, value, checked }),
      el('span', { dir: 'auto' }, value === NOBODY ? 'nobody' : value),
      el('span', { class: 'count' }, number(count)),
    );
  }
}

/** Parameters of the page's scope and of the list, for a URL. @param {Filters} filters */
export const listParams = (filters) => ({ ...filters.params, ...scopeParams() });
