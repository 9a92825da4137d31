import { ACTIONS, performedBy } from './actions.js';
import { commands as analystCommands, load as loadAnalysts, prepare as prepareAnalysts } from './analysts.js';
import { UNREACHABLE, ask } from './api.js';
import { countAlways, entitle, recount } from './counts.js';
import { help } from './dialog.js';
import { at, el, fill, refill, soon, words } from './dom.js';
import { Events } from './events.js';
import { listParams } from './filters.js';
import { Findings } from './findings.js';
import { full, minute, retime, setZone, zone, zoneMark } from './format.js';
import { prepare as prepareHandover, show as showHandover } from './handover.js';
import { show as showHistory } from './history.js';
import { analystHealth, dot, stateWords, watchHealth } from './health.js';
import { refresh, show as showIncident } from './incident.js';
import { isOn, notifyOf, prepareNotifications } from './notifications.js';
import { openNotifications, prepareDialog, summary } from './notifications-dialog.js';
import { openPalette, preparePalette } from './palette.js';
import { Panel } from './panel.js';
import { preparePush, showSubscriptions } from './push.js';
import { prepare as prepareQuestion } from './question.js';
import { isLimited, offerStreams, openRanges, prepareScope, scopeParams, setScope } from './scope.js';
import { find, prepare as prepareSearch } from './search.js';
import { show as showSeries } from './series.js';
import { fetched, howto, show as showSetup } from './setup.js';
import { prepareSharing } from './sharing.js';
import { measure, showStats } from './stats.js';
import { show as showSuppressions } from './suppressions.js';
import { Tiles } from './tiles.js';
import { undone } from './toast.js';
import { Triage } from './triage.js';

/** @import {Agent, Finding, List, Stream} from './types' */

const VIEWS = ['live', 'incidents', 'panel', 'search', 'history', 'handover', 'setup', 'suppressions', 'series'];
/** Polling interval in ms without a stream, for rejected connections. */
const LOOK_AGAIN = 3000;

const streamList = /** @type {HTMLSelectElement} */ (at('streams'));
const tiles = new Tiles(choose, () => showState());
const findings = new Findings(at('findings'), at('none'));
const panel = new Panel();
const triage = new Triage((id) => go('incidents', id ? { incident: id } : {}), say);
prepareSearch();
prepareScope(() => go(view, kept()));
prepareHandover();
prepareQuestion();
prepareAnalysts(() => panel.draw());

let view = '';
/** Null until loaded. @type {Stream[] | null} */
let streams = null;

// The view and its parameters are in the URL, which can be shared.
/** @param {string} name @param {Record<string, string>} [what] */
function go(name, what = {}) {
  const scope = name === 'incidents' ? listParams(triage.filters) : isLimited(name) ? scopeParams() : {};
  // A link to a time is not limited by the range of the page.
  if ('from' in what || 'range' in what) for (const one of ['from', 'to', 'range']) delete scope[one];
  const query = name === 'live' ? '' : `?${new URLSearchParams({ view: name, ...scope, ...what })}`;
  const address = `/${query}${location.hash}`;
  if (address !== `/${location.search}${location.hash}`) history.pushState(null, '', address);
  route();
}

/** What stays in the URL when the scope of the view changes. @returns {Record<string, string>} */
function kept() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(['incident', 'q'].map((name) => [name, query.get(name) ?? '']).filter(([, value]) => value));
}

/** Scope of what is shown. */
let scoped = '';

async function route() {
  const query = new URLSearchParams(location.search);
  const wanted = VIEWS.includes(query.get('view') ?? '') ? String(query.get('view')) : 'live';
  const turned = wanted !== view;
  view = wanted;
  document.body.dataset.view = view;
  for (const name of VIEWS) at(name).hidden = name !== view;
  tiles.seen(view === 'live');
  entitle(view === 'live' ? 'Watchtower' : `Watchtower: ${at(view).getAttribute('aria-label')}`);
  for (const link of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('#views a'))) {
    if (link.dataset.view !== view) {
      link.removeAttribute('aria-current');
      continue;
    }
    link.setAttribute('aria-current', 'page');
    // On a phone the views are wider than the screen.
    if (turned) at('views').scrollLeft = link.offsetLeft - at('views').offsetLeft - (at('views').clientWidth - link.offsetWidth) / 2;
  }
  if (turned) say('');
  if (isLimited(view)) setScope(query);
  const scope = JSON.stringify(scopeParams());
  const another = scope !== scoped;
  scoped = scope;
  try {
    if (view === 'incidents') {
      const id = query.get('incident') ?? '';
      at('incident').hidden = !id;
      at('incidents').classList.toggle('opened', Boolean(id));
      const filtered = triage.set(query);
      triage.at(id);
      await Promise.all([(turned || another || filtered) && triage.load(), id && showIncident(id)]);
    } else if (view === 'panel' && (turned || another)) {
      panel.draw();
      await Promise.all([panel.load(), loadAnalysts()]);
    } else if (view === 'setup') await Promise.all([showSetup(), showSubscriptions()]);
    else if (view === 'suppressions') await showSuppressions();
    else if (view === 'history') await showHistory(query);
    else if (view === 'handover') await showHandover(query);
    else if (view === 'series') await showSeries(query);
    else if (view === 'search' && query.get('q')) await find(String(query.get('q')));
  } catch (error) {
    if (view === wanted) say(words(error));
  }
}

window.addEventListener('popstate', () => {
  route();
  if (streams) showStreams(streams);
});
document.addEventListener('click', (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  const link = /** @type {HTMLAnchorElement | null} */ (target.closest?.('a[href^="/?view="], a[data-view]'));
  if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const { view: name = 'live', ...what } = Object.fromEntries(new URL(link.href).searchParams);
  go(name, what);
});

document.addEventListener('keydown', async (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if ((event.ctrlKey || event.metaKey) && event.key === 'k' && !document.querySelector('dialog[open]')) {
    event.preventDefault();
    return openPalette();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || target.matches('input:not([type=checkbox]), select, textarea')) return;
  // While a dialog is open, keys don't apply to the page below.
  if (document.querySelector('dialog[open]')) return;
  const { key } = event;
  const number = Number(key);
  // A button or a link handles the key itself.
  if (key === 'Enter' && target.matches('button, a, summary')) return;
  if (key === '?') help();
  else if (key === '/') toSearch();
  else if (key === 'u') undone();
  else if (key === 't' && isLimited(view)) openRanges();
  else if (number >= 1 && number <= VIEWS.length) go(VIEWS[number - 1]);
  else if (view === 'live') {
    if (!tiles.key(event)) return;
  } else if (view !== 'incidents') return;
  else if (key === 'Escape') {
    if (!triage.deselect() && !at('incident').hidden) go('incidents');
  } else if (key === 'Enter' || key.length === 1 && 'jkxXo*acfrisn.'.includes(key)) {
    event.preventDefault();
    return triage.key(key);
  } else return;
  event.preventDefault();
});

function toSearch() {
  const field = /** @type {HTMLInputElement} */ (at('query').querySelector('input'));
  if (view !== 'search') go('search', field.value ? { q: field.value } : {});
  field.focus();
}

at('keys').addEventListener('click', help);
at('commands').addEventListener('click', openPalette);
performedBy((key, ids) => triage.act(key, ids));

/** Commands of the palette. @param {string} text What was typed. */
function commands(text) {
  const names = VIEWS.map((name, nth) => ({ name: `Go to ${at(name).getAttribute('aria-label')}`, key: String(nth + 1), run: () => go(name) }));
  const target = view === 'incidents' ? triage.target : null;
  const acts = target ? ACTIONS.filter(({ fits }) => fits(target)).map(({ key, label }) => ({ name: `${label}: ${target.title}`, key, run: () => { triage.act(key); } })) : [];
  const live = (streams ?? []).map(({ name }) => ({ name: `Show stream ${name}`, run: () => showStream(name) }));
  const open = text ? triage.named(text).map(({ id, title }) => ({ name: `Open incident: ${title}`, run: () => go('incidents', { incident: id }) })) : [];
  const search = text ? [{ name: `Search for ${text}`, run: () => go('search', { q: text }) }] : [];
  const rest = [
    { name: 'Search', key: '/', run: toSearch },
    ...(isLimited(view) ? [{ name: 'Time range', key: 't', run: openRanges }] : []),
    { name: 'Times in UTC or local', run: () => { zones.value = zone() === 'utc' ? 'local' : 'utc'; zones.dispatchEvent(new Event('change')); } },
    { name: 'Light or dark theme', run: () => at('theme').click() },
    { name: 'Notifications: desktop, sound, push', run: openNotifications },
    { name: 'Health', run: () => at('parts').showPopover() },
    { name: 'Keyboard shortcuts, switch user', key: '?', run: help },
  ];
  return [...acts, ...names, ...live, ...analystCommands(), ...rest, ...open, ...search];
}
preparePalette(commands);

/** @param {string} name */
function showStream(name) {
  streamList.value = name;
  choose(name);
  go('live');
}
at('theme').addEventListener('click', () => {
  const light = matchMedia('(prefers-color-scheme: light)').matches;
  const now = document.documentElement.dataset.theme ?? (light ? 'light' : 'dark');
  localStorage.setItem('watchtower.theme', now === 'dark' ? 'light' : 'dark');
  showTheme();
});
function showTheme() {
  const theme = localStorage.getItem('watchtower.theme');
  if (theme) document.documentElement.dataset.theme = theme;
}

const zones = /** @type {HTMLSelectElement} */ (at('zone'));
// A browser keeps form values on reload.
zones.value = zone();
zones.addEventListener('change', () => {
  setZone(zones.value === 'local' ? 'local' : 'utc');
  showTime();
});
function showTime() {
  const now = new Date();
  fill(at('now'), el('time', { dateTime: now.toISOString(), title: full(now, zone() === 'utc' ? 'local' : 'utc') }, `${minute(now)} ${zoneMark(now)}`));
  retime();
}

streamList.addEventListener('change', () => choose(streamList.value));

/** Stream name in the URL, if it is valid. */
function named() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
}

/** Selects the stream in the URL (#team), or the playing one, or the first. @param {Stream[]} items */
function showStreams(items) {
  streams = items;
  const played = streamList.value;
  const options = items.map(({ name }) => new Option(name, name));
  streamList.replaceChildren(...(options.length ? options : [new Option('No live streams', '')]));
  streamList.disabled = items.length === 0;
  /** @param {string} wanted */
  const there = (wanted) => items.find(({ name }) => name === wanted);
  const chosen = there(named()) ?? there(played) ?? items[0];
  streamList.value = chosen?.name ?? '';
  offerStreams(items.map(({ name }) => name));
  sayMissing(chosen?.name);
  showTiles();
  showWaiting();
}

/** Says that the stream of the link is not the one shown. @param {string | undefined} shown */
function sayMissing(shown) {
  const text = shown && named() && named() !== shown ? `Stream ${named()} is not live; showing ${shown}` : '';
  if (text ? view === 'live' : at('said').textContent === missing) say(text);
  missing = text;
}
let missing = '';

/** @param {string} name */
function choose(name) {
  history.replaceState(null, '', `${location.pathname}${location.search}#${encodeURIComponent(name)}`);
  streamList.value = name;
  sayMissing(name);
  showTiles();
}

function showTiles() {
  tiles.show(streams ?? [], streamList.value);
  showState();
}

function showState() {
  const { playing } = tiles;
  // Without a live stream the findings of those that were.
  findings.of(streams?.length ? tiles.names : null);
  const stream = streams?.find(({ name }) => name === streamList.value);
  let [is, text] = ['', streams ? 'no stream' : 'connecting'];
  if (stream?.state === 'signal_lost') [is, text] = ['lost', 'signal lost, waiting for publisher'];
  else if (stream?.state === 'paused') [is, text] = ['paused', 'paused by the person who shares'];
  else if (stream && playing.state === 'live') [is, text] = ['live', ['live', playing.why].filter(Boolean).join(': ')];
  else if (stream && playing.state === 'waiting') text = `${playing.why}; reconnecting…`;
  else if (stream) text = 'connecting';
  at('state').dataset.is = is;
  at('state').textContent = text;
}

/** Without a stream: encoder settings and rejected connections. */
async function showWaiting() {
  const waits = streams?.length === 0;
  at('waiting').hidden = !waits;
  at('watching').hidden = waits;
  if (!waits) return;
  if (view === 'live' && !document.hidden) {
    const setup = await fetched().catch(() => null);
    const now = JSON.stringify(setup);
    // The user may be selecting an address to copy it.
    if (setup && streams?.length === 0 && now !== shownSetup) {
      shownSetup = now;
      refill(at('waiting'), ...howto(setup));
    }
  }
  clearTimeout(looking);
  looking = window.setTimeout(showWaiting, LOOK_AGAIN);
}
let looking = 0;
/** Setup shown on the waiting page. */
let shownSetup = '';

/** @type {Agent[]} */
let agents = [];
/** Shortest interval in ms at which the states of analysts are drawn: they change at each picture. */
const AGENTS_EVERY = 1000;
let drawnAgents = '';
const drawAgents = soon(() => {
  // Counters change all the time, what is shown of them seldom.
  const now = JSON.stringify(agents.filter(({ enabled }) => enabled).map(({ name, state }) => [name, stateWords(state), analystHealth(name)]));
  if (now === drawnAgents) return;
  drawnAgents = now;
  fill(at('agents'), ...agents.filter(({ enabled }) => enabled).map(({ name, state }) => el('li', { title: stateWords(state) }, dot(analystHealth(name) ?? 'idle'), ' ', el('b', {}, name), ` ${stateWords(state)}`)));
}, AGENTS_EVERY);

/** @param {Finding} finding */
function showFinding(finding) {
  findings.add(finding);
  panel.finding(finding);
  measure(finding);
}

/** Shows an error; empty when there is none. @param {string} text */
function say(text) {
  at('said').hidden = !text;
  at('said').textContent = text;
}

/** Loads the findings from before this page was opened. */
async function catchUp() {
  /** @type {List<Finding>} */
  const { items } = await ask('/api/findings?limit=100');
  items.forEach(showFinding);
}

const events = new Events({
  finding(finding) {
    showFinding(finding);
    tiles.box(finding);
  },
  incident(change) {
    triage.changed(change);
    panel.changed(change);
    refresh(change.incident.id);
    recount();
    notifyOf(change);
  },
  agents(now) {
    agents = now;
    drawAgents();
    panel.agents(now);
  },
  streams: showStreams,
  link(error) {
    at('link').hidden = !error;
    at('link').textContent = error;
    // What was said of the lost connection is over with it.
    if (!error && at('said').textContent === UNREACHABLE) say('');
  },
}, isOn);
const showNotified = () => { at('notified').textContent = summary(); };
prepareNotifications(() => {
  events.adapt();
  showNotified();
}, (id) => go('incidents', { incident: id }));
prepareDialog(showNotified);
showNotified();
preparePush((id) => go('incidents', id ? { incident: id } : {}));
at('to-notifications').addEventListener('click', openNotifications);
showStats(() => streamList.value);
prepareSharing(() => streamList.value);
showTheme();
showTime();
setInterval(showTime, 5000);
countAlways(() => triage.woken());
watchHealth(() => {
  drawAgents();
  panel.draw();
});
const began = [route(), catchUp().catch((error) => say(words(error)))];
Promise.all(began).then(() => performance.mark('usable'));
