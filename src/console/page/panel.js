// Who is on the panel, what each does and says, and how they answer each other.

import { ask } from '/page/api.js';
import { at, clock, el, mark } from '/page/dom.js';
import { opinion, verdictOf } from '/page/incident.js';

const LATEST = 5;
const EXCHANGES = 20;

export class Panel {
  /** @type {any[]} */ #agents = [];
  /** @type {Map<string, any[]>} */ #findings = new Map();
  /** @type {Map<string, any>} */ #exchanges = new Map();

  agents(agents) {
    this.#agents = agents.filter(({ enabled }) => enabled);
    this.#show();
  }

  finding(finding) {
    const own = this.#findings.get(finding.agent) ?? [];
    if (own.some(({ id }) => id === finding.id)) return;
    own.push(finding);
    own.sort((a, b) => (a.id < b.id ? 1 : -1));
    this.#findings.set(finding.agent, own.slice(0, LATEST));
    this.#show();
  }

  changed({ incident }) {
    if (incident.opinions.length === 0) return;
    this.#exchanges.set(incident.id, incident);
    this.#showExchanges();
  }

  async load() {
    const { items } = await ask('/api/incidents?limit=200');
    items.forEach((incident) => this.changed({ incident }));
  }

  #show() {
    if (at('panel').hidden) return;
    this.draw();
  }

  draw() {
    at('columns').replaceChildren(...this.#agents.map((agent) => el(
      'section',
      { 'aria-label': agent.name },
      el('h3', {}, agent.name),
      el('p', { class: 'doing' }, agent.state, ' ', clock(agent.since)),
      el('p', { class: 'quiet' }, `${agent.provider} ${agent.model} · ${agent.looks} looks · ${agent.findings} findings`),
      el('ol', {}, ...(this.#findings.get(agent.name) ?? []).map((finding) => el(
        'li', {}, mark(finding.severity), ' ', clock(finding.observed_at), ' ',
        finding.incident ? el('a', { href: `/?view=incidents&incident=${finding.incident}` }, finding.title) : finding.title,
      ))),
    )));
    this.#showExchanges();
  }

  #showExchanges() {
    if (at('panel').hidden) return;
    const newest = [...this.#exchanges.values()].sort((a, b) => Date.parse(b.last_seen) - Date.parse(a.last_seen));
    at('quiet').hidden = newest.length > 0;
    at('exchanges').replaceChildren(...newest.slice(0, EXCHANGES).map((incident) => el(
      'li',
      {},
      el('h3', {}, mark(incident.severity), ' ', el('a', { href: `/?view=incidents&incident=${incident.id}` }, incident.title)),
      el('ol', {}, ...incident.opinions.map(opinion), incident.verdict && verdictOf(incident.verdict)),
    )));
  }
}
