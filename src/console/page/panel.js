// Analysts: state, latest findings and discussion of each.

import { controls, figures, settingsOf } from './analysts.js';
import { ask } from './api.js';
import { at, el, fill, foreign, mark, refill, soon, toIncident } from './dom.js';
import { clock, counted, modelName } from './format.js';
import { analystHealth, dot, stateWords } from './health.js';
import { opinionsOf, verdictOf } from './opinions.js';
import { inScope, sinceUntil } from './scope.js';
import { settledMark } from './settled.js';

/** @import {Agent, Change, Child, Finding, Incident, List} from './types' */

const LATEST = 5;
const EXCHANGES = 20;

export class Panel {
  /** @type {Agent[]} */ #agents = [];
  /** @type {Map<string, Finding[]>} */ #findings = new Map();
  /** @type {Map<string, Incident>} */ #exchanges = new Map();
  /** Drawn nodes, by agent and by incident: only changed ones are redrawn. @type {Map<string, Drawn>} */
  #columns = new Map();
  /** @type {Map<string, Drawn>} */
  #discussions = new Map();
  #draw = soon(() => this.draw());
  /** Number of the load: results of older ones are dropped. */
  #loads = 0;

  /** @param {Agent[]} agents */
  agents(agents) {
    this.#agents = agents;
    this.#draw();
  }

  /** @param {Finding} finding */
  finding(finding) {
    if (!inScope(finding.observed_at)) return;
    const own = this.#findings.get(finding.agent) ?? [];
    if (own.some(({ id }) => id === finding.id)) return;
    own.push(finding);
    own.sort((a, b) => (a.id < b.id ? 1 : -1));
    this.#findings.set(finding.agent, own.slice(0, LATEST));
    this.#draw();
  }

  /** @param {Pick<Change, 'incident'>} change */
  changed({ incident }) {
    if (incident.opinions.length === 0 || !inScope(incident.first_seen, incident.last_seen)) return;
    this.#exchanges.set(incident.id, incident);
    const newest = [...this.#exchanges.values()].sort((a, b) => Date.parse(b.last_seen) - Date.parse(a.last_seen));
    this.#exchanges = new Map(newest.slice(0, EXCHANGES).map((one) => [one.id, one]));
    this.#draw();
  }

  /** Loads findings and discussions of the range. */
  async load() {
    const mine = ++this.#loads;
    const within = sinceUntil('');
    /** @type {List<Agent>} */
    const { items: agents } = await ask('/api/agents');
    const [incidents, ...findings] = await Promise.all([
      /** @type {Promise<List<Incident>>} */ (ask(`/api/incidents?limit=200&${within}`)),
      ...agents.map(({ name }) => /** @type {Promise<List<Finding>>} */ (ask(`/api/findings?limit=${LATEST}&agent=${encodeURIComponent(name)}&${within}`))),
    ]);
    if (mine !== this.#loads) return;
    this.#findings.clear();
    this.#exchanges.clear();
    this.#agents = agents;
    findings.forEach(({ items }) => items.forEach((finding) => this.finding(finding)));
    incidents.items.forEach((incident) => this.changed({ incident }));
    this.#draw();
  }

  draw() {
    if (at('panel').hidden) return;
    this.#columns = update(at('columns'), 'section', this.#columns, this.#agents.map((agent) => {
      // An open range moves on.
      const latest = (this.#findings.get(agent.name) ?? []).filter(({ observed_at }) => inScope(observed_at));
      return [agent.name, JSON.stringify([agent, latest, analystHealth(agent.name), settingsOf(agent.name), figures(agent.name)?.textContent]), () => column(agent, latest)];
    }));
    for (const [name, { node }] of this.#columns) node.setAttribute('aria-label', name);
    at('quiet').hidden = this.#exchanges.size > 0;
    this.#discussions = update(at('exchanges'), 'li', this.#discussions, [...this.#exchanges.values()].map((incident) => {
      const { id, title, severity, opinions, verdict } = incident;
      return [id, JSON.stringify([title, severity, opinions, verdict]), () => exchange(incident)];
    }));
  }
}

/** @typedef {{node: HTMLElement, as: string}} Drawn */

/**
 * Keeps unchanged nodes in place, so that the focus and the link under the
 * pointer stay.
 * @param {Element} where
 * @param {string} kind
 * @param {Map<string, Drawn>} before
 * @param {[key: string, as: string, parts: () => Child[]][]} wanted
 * @returns {Map<string, Drawn>}
 */
function update(where, kind, before, wanted) {
  /** @type {Map<string, Drawn>} */
  const now = new Map();
  for (const [key, as, parts] of wanted) {
    const drawn = before.get(key) ?? { node: el(kind), as: '' };
    if (drawn.as !== as) refill(drawn.node, ...parts());
    drawn.as = as;
    now.set(key, drawn);
  }
  const nodes = [...now.values()].map(({ node }) => node);
  if (nodes.length !== where.children.length || nodes.some((node, nth) => node !== where.children[nth])) fill(where, ...nodes);
  return now;
}

/** @param {Incident} incident @returns {Child[]} */
const exchange = (incident) => [
  el('h3', {}, settledMark(incident), ' ', toIncident(incident.id, incident.title)),
  el('ol', {}, ...opinionsOf(incident.opinions), incident.verdict && verdictOf(incident.verdict)),
];

/** @param {Agent} agent @param {Finding[]} latest @returns {Child[]} */
const column = ({ name, enabled, state, since, provider, model, looks, findings, last_seen }, latest) => [
  el('h3', {}, dot(analystHealth(name) ?? 'idle'), ' ', name),
  controls(name),
  el('p', { class: 'doing' }, enabled || last_seen ? stateWords(state) : 'paused', ' since ', clock(since)),
  el('p', { class: 'quiet' }, `${modelName(provider, model)} · ${counted(looks, 'scan')} · ${counted(findings, 'finding')}`),
  figures(name),
  el('ol', {}, ...latest.map(({ severity, observed_at, incident, title }) => el(
    'li', {}, mark(severity), ' ', clock(observed_at), ' ', incident ? toIncident(incident, title) : foreign(title)))),
];
