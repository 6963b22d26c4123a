// Loaded with `node -r` before a server that others wrote: it then listens on 127.0.0.1 only, on a port that the system
// chooses, and says which. (Those servers bind every interface, and a port picked beforehand could be taken meanwhile.)
const net = require('node:net')

const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (...args) {
  const wanted = typeof args[0] === 'object' ? args[0].port : args[0]
  const ready = args.filter((a) => typeof a === 'function')
  this.once('listening', () => console.log(`LOOPBACK ${wanted} http://127.0.0.1:${this.address().port}`))
  return listen.call(this, { port: 0, host: '127.0.0.1' }, ...ready)
}
