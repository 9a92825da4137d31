// Types of the API's answers, for the type checker alone. `api` is generated
// from docs/openapi.json when the types are checked (scripts/check-page.sh).

import type { components } from 'api';

type Schemas = components['schemas'];

export type AgentBlock = Schemas['AgentBlock'];
export type AgentsFile = Schemas['AgentsFileShown'];
export type Activity = Schemas['ActivityShown'];
export type Agent = Schemas['AgentStatus'];
export type Answer = Schemas['Answer'];
export type Buried = Schemas['Buried'];
export type Change = Schemas['Change'];
export type Citation = Schemas['Citation'];
export type Cost = Schemas['Cost'];
export type Counts = Schemas['IncidentCounts'];
export type Done = Schemas['Done'];
export type Edited = Schemas['AgentsFileEdited'];
export type Facets = Schemas['IncidentFacets'];
export type Group = Schemas['IncidentGroup'];
export type Groups = Schemas['IncidentGroups'];
export type Histogram = Schemas['IncidentHistogram'];
export type Lanes = Schemas['LanesShown'];
export type LaneMark = Schemas['LaneMark'];
export type Evidence = Schemas['Evidence'];
export type Finding = Schemas['Finding'];
export type Handover = Schemas['Handover'];
export type Health = Schemas['HealthShown'];
export type Hit = Schemas['HitShown'];
export type Incident = Schemas['Incident'];
export type Dossier = Schemas['IncidentShown'];
export type Judgement = Schemas['PanelVerdict'];
export type Opinion = Schemas['Opinion'];
export type Precision = Schemas['Precision'];
export type ProofStill = Schemas['ProofStill'];
export type Region = Schemas['RegionShown'];
export type Regions = Schemas['RegionsShown'];
export type Samples = Schemas['SamplesShown'];
export type SampleStep = Schemas['SampleStep'];
export type Push = Schemas['PushShown'];
export type PushSubscribed = Schemas['PushSubscriptionShown'];
export type Series = Schemas['SeriesShown'];
export type Setup = Schemas['SetupShown'];
export type Severity = Schemas['Severity'];
export type ShareMade = Schemas['ShareMade'];
export type ShareSession = Schemas['ShareSession'];
export type Shared = Schemas['ShareShown'];
export type SignedHandover = Schemas['SignedHandover'];
export type Sink = Schemas['SinkShown'];
export type SourcePrecision = Schemas['SourcePrecision'];
export type SpentOn = Schemas['SpentOn'];
export type Standing = Schemas['Standing'];
export type Still = Schemas['StillShown'];
export type StreamStats = Schemas['StreamShown'];
export type Suppression = Schemas['Suppression'];
export type Transcript = Schemas['Transcript'];
export type Verdict = Schemas['StatusBody'];

export type Stream = Pick<Schemas['StreamShown'], 'name' | 'state'>;
export type List<T> = { items: T[]; next?: string | null };
export type Child = Node | string | null | undefined | false;
