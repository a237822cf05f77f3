import type { components, operations } from "./generated/api.ts";

/** A type of the service, by its name in the OpenAPI document. */
export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name];

type Json<T> = T extends { content: { "application/json": infer Body } } ? Body : never;

/** The request of an operation. */
export type RequestOf<Name extends keyof operations> = operations[Name] extends { requestBody?: infer Body }
  ? Json<NonNullable<Body>>
  : never;

type Success<Responses> = Responses extends { 201: infer Created } ? Json<Created> : Responses extends { 200: infer Ok } ? Json<Ok> : never;

/** The answer of an operation. */
export type ResponseOf<Name extends keyof operations> = Success<operations[Name]["responses"]>;

/** The query of a route. */
export type QueryOf<Name extends keyof operations> = NonNullable<operations[Name]["parameters"]["query"]>;

/** What every method takes. */
export interface CallOptions {
  /** Ends the request; of a command, the command too. */
  signal?: AbortSignal | undefined;
}

/** The fields of an operation that a method takes as options. */
export type Options<Name extends keyof operations, Fields extends string = never> = Omit<RequestOf<Name>, Fields> & CallOptions;
