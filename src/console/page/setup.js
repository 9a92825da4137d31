// What to type into Zoom and OBS, and how sinks, models and budget fare.

import { ask } from '/page/api.js';
import { at, clock, el, fill, usd } from '/page/dom.js';

const row = (...cells) => el('tr', {}, ...cells.map((cell) => el('td', {}, cell)));
const table = (heads, rows) => el('table', {}, el('thead', {}, el('tr', {}, ...heads.map((head) => el('th', {}, head)))), el('tbody', {}, ...rows));

export async function show() {
  const host = location.hostname;
  at('howto').replaceChildren(
    el('h2', {}, 'Share a screen'),
    el('p', {}, 'Zoom pushes from its cloud: the address must be reachable from the Internet. The port is 1935 unless the server was told another; the key is WATCHTOWER_STREAM_KEY of its .env.'),
    table(['', 'address', 'key'], [
      row('Zoom: More → Live on Custom Live Streaming Service', el('code', {}, `rtmp://${host}:1935/live/team`), 'as Stream key; any https address as page URL'),
      row('OBS: Settings → Stream → Custom', el('code', {}, `rtmp://${host}:1935/live/team`), 'as Stream Key'),
      row('ffmpeg', el('code', {}, `ffmpeg -re -i clip.mp4 -c copy -f flv rtmp://${host}:1935/live/team/KEY`), 'in the address'),
    ]),
  );
  const [agents, sinks, budget] = await Promise.allSettled([ask('/api/agents'), ask('/api/sinks'), ask('/api/budget')]);
  const items = (answer) => (answer.status === 'fulfilled' ? answer.value.items : []);
  const spent = budget.status === 'fulfilled' ? budget.value : null;
  fill(
    at('health'),
    el('h2', {}, 'Models'),
    table(['analyst', 'model', 'state', 'since'], items(agents).filter(({ enabled }) => enabled)
      .map((agent) => row(agent.name, `${agent.provider} ${agent.model}`, agent.state, clock(agent.since)))),
    el('h2', {}, 'Budget'),
    el('p', {}, spent ? spent.reason || 'all as configured' : 'not told'),
    spent && table(['', 'requests', 'tokens', 'money'], ['minute', 'hour', 'day'].map((span) => {
      const { requests, tokens, micro_usd } = spent.spent[span];
      return row(`last ${span === 'day' ? 'day (UTC)' : span}`, String(requests), String(tokens), usd(micro_usd));
    })),
    el('h2', {}, 'Sinks'),
    items(sinks).length === 0 ? el('p', {}, 'none configured') : table(['sink', 'state', 'behind', 'delivered', 'failed', 'dead'],
      items(sinks).map((sink) => row(`${sink.name} (${sink.kind})`, sink.state, ...[sink.behind, sink.delivered, sink.failed, sink.dead].map(String)))),
  );
}
