import ArgumentParser
import Simulation

Simulate.main()
