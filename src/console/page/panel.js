// Who is on the panel, what each does and says, and how they answer each other.

import { ask } from './api.js';
import { at, clock, el, fill, mark, soon, foreign, toIncident } from './dom.js';
import { opinion, verdictOf } from './opinions.js';

/** @import {Agent, Change, Finding, Incident, List} from './types' */

const LATEST = 5;
const EXCHANGES = 20;

export class Panel {
  /** @type {Agent[]} */ #agents = [];
  /** @type {Map<string, Finding[]>} */ #findings = new Map();
  /** @type {Map<string, Incident>} */ #exchanges = new Map();
  #draw = soon(() => this.draw());

  /** @param {Agent[]} agents */
  agents(agents) {
    this.#agents = agents.filter(({ enabled }) => enabled);
    this.#draw();
  }

  /** @param {Finding} finding */
  finding(finding) {
    const own = this.#findings.get(finding.agent) ?? [];
    if (own.some(({ id }) => id === finding.id)) return;
    own.push(finding);
    own.sort((a, b) => (a.id < b.id ? 1 : -1));
    this.#findings.set(finding.agent, own.slice(0, LATEST));
    this.#draw();
  }

  /** @param {Pick<Change, 'incident'>} change */
  changed({ incident }) {
    if (incident.opinions.length === 0) return;
    this.#exchanges.set(incident.id, incident);
    const newest = [...this.#exchanges.values()].sort((a, b) => Date.parse(b.last_seen) - Date.parse(a.last_seen));
    this.#exchanges = new Map(newest.slice(0, EXCHANGES).map((one) => [one.id, one]));
    this.#draw();
  }

  async load() {
    /** @type {List<Incident>} */
    const { items } = await ask('/api/incidents?limit=200');
    items.forEach((incident) => this.changed({ incident }));
  }

  draw() {
    if (at('panel').hidden) return;
    fill(at('columns'), ...this.#agents.map((agent) => this.#column(agent)));
    at('quiet').hidden = this.#exchanges.size > 0;
    fill(at('exchanges'), ...[...this.#exchanges.values()].map((incident) => el(
      'li',
      {},
      el('h3', {}, mark(incident.severity), ' ', toIncident(incident.id, incident.title)),
      el('ol', {}, ...incident.opinions.map(opinion), incident.verdict && verdictOf(incident.verdict)),
    )));
  }

  /** @param {Agent} agent */
  #column(agent) {
    const latest = this.#findings.get(agent.name) ?? [];
    return el(
      'section',
      { 'aria-label': agent.name },
      el('h3', {}, agent.name),
      el('p', { class: 'doing' }, agent.state, ' ', clock(agent.since)),
      el('p', { class: 'quiet' }, `${agent.provider} ${agent.model} · ${agent.looks} looks · ${agent.findings} findings`),
      el('ol', {}, ...latest.map((finding) => el(
        'li',
        {},
        mark(finding.severity),
        ' ',
        clock(finding.observed_at),
        ' ',
        finding.incident ? toIncident(finding.incident, finding.title) : foreign(finding.title),
      ))),
    );
  }
}
