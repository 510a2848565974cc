import type {components} from './openapi.js'

type Schemas = components['schemas']

export type AccountPage = Schemas['AccountPage']
export type Breaker = Schemas['BreakerItem']
export type BreakerPage = Schemas['BreakerPage']
export type CapacityPage = Schemas['CapacityPage']
export type EnqueuedRequest = Schemas['NewRequestState']
export type QueueState = Schemas['QueueState']
export type RequestState = Schemas['RequestState']
export type Score = Schemas['Score']
export type ScoreChanges = Schemas['ScoreChanges']
export type ScorePage = Schemas['ScorePage']
export type ScoreSummary = Schemas['ScoreSummary']
