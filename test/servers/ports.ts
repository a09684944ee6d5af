/** Free ports on loopback, for the servers of a test. */
export { freePort, freePorts } from '../../src/sandbox/ports.ts'
